"""Every command once, as a user would, and what it prints and writes."""

import csv
import json
import math
import re
import xml.dom.minidom

import pytest

from conftest import Dtrain, results, write_tsv

LENGTH = ["--max-length", "32"]
# What is measured is not looked at.
BRIEFLY = ["--seconds", "0.1"]
COMMANDS = ["compare", "diagnose", "train", "evaluate", "predict", "merge", "extract", "estimate", "inspect",
            "methods", "report",
            "bench"]


@pytest.fixture(scope="module", params=["full", "lora", "head"])
def run(request, task, tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp(request.param)
    Dtrain(folder, cache).succeeds("train", *task, "--method", request.param, "--lr", "5e-3", "--epochs", "6",
                                   "--min-steps", "1", "--save-steps", "5", "--output", "out")
    return folder / "out"


def test_evaluate_gives_the_metrics_of_the_run_for_the_same_file(dtrain, run, data, tmp_path):
    ended = dtrain.succeeds("evaluate", "--run", run, "--input", data / "test.tsv", *LENGTH, "--output", "out")
    found, trained = results(tmp_path / "out")["metrics"]["test"], results(run)["metrics"]["test"]
    for name in ("accuracy", "macro_f1", "log_loss", "matthews"):
        assert found[name] == pytest.approx(trained[name], abs=1e-5), name
    assert re.search(rf"^test +45 +{trained['accuracy']:.4f} ", ended.out, re.M), ended
    assert "written: out/results.json" in ended.out, ended


def test_a_length_that_cuts_texts_elsewhere_than_the_run_did_is_said(dtrain, run, data, tmp_path):
    write_tsv(tmp_path / "inputs.tsv", [("plant", "an oak"), ("tool", "a saw " * 20), ("tool", "a drill")])
    for length in (16, 48):
        for trained in (run, *(run / name for name in ("adapter", "model") if (run / name).exists())):
            ended = dtrain.succeeds("evaluate", "--run", trained, "--input", "inputs.tsv", "--max-length", length)
            assert f"trained with --max-length 32, and is used with {length}: 1 text is cut elsewhere" in ended.err, ended
    ended = dtrain.succeeds("evaluate", "--run", run, "--input", data / "test.tsv", "--max-length", "31")
    assert "cut elsewhere" not in ended.err, ended


def test_predict_labels_a_file_without_labels(dtrain, run, tmp_path):
    texts = ["a small oak in the pine", "the old dog", "an axe and a drill", 'quotes " and, commas']
    with open(tmp_path / "inputs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    ended = dtrain.succeeds("predict", "--run", run, "--input", "inputs.csv", *LENGTH, "--output", "out", ranks=2)
    lines = (tmp_path / "out" / "predictions" / "predictions.tsv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["text"] for row in rows] == texts
    for row in rows:
        shares = {label: float(row[f"p({label})"]) for label in ("animal", "plant", "tool")}
        assert math.isclose(sum(shares.values()), 1, abs_tol=1e-5)
        assert row["predicted"] == max(shares, key=shares.get)
        assert float(row["probability"]) == pytest.approx(max(shares.values()), abs=1e-6)
    assert "written: 4 predictions in out/predictions/predictions.tsv" in ended.out, ended


def test_predict_keeps_rows_whose_label_training_did_not_see(dtrain, run, tmp_path):
    write_tsv(tmp_path / "inputs.tsv", [("plant", "an oak"), ("stone", "the granite"), ("tool", "a saw")])
    ended = dtrain.succeeds("predict", "--run", run, "--input", "inputs.tsv", *LENGTH, "--output", "out")
    assert "warning: inputs.tsv: 1 row with a label that is none of the 3 classes (kept" in ended.err, ended
    assert "written: 3 predictions" in ended.out, ended
    dtrain.refuses("evaluate", "--run", run, "--input", "inputs.tsv", *LENGTH, code=3, says="'stone'")


def test_a_label_with_a_tab_or_a_line_end_keeps_its_row_in_one_line(dtrain, tiny_model, tmp_path):
    lines = [{"label": label, "text": text} for label, text in (("a\tplant", "an oak"), ("a\ntool", "a saw"))] * 10
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dtrain.succeeds("train", "--model", tiny_model, *LENGTH, "--train", "odd.jsonl", "--test", "odd.jsonl", "--max-steps",
                    "2", "--output", "out")
    dtrain.succeeds("predict", "--run", "out", "--input", "odd.jsonl", *LENGTH, "--output", "predicted")
    tested = (tmp_path / "out" / "predictions" / "test.tsv").read_text().splitlines()
    predicted = (tmp_path / "predicted" / "predictions" / "predictions.tsv").read_text().splitlines()
    assert len(tested) == len(predicted) == 21
    assert {len(line.split("\t")) for line in tested} == {4}
    assert {len(line.split("\t")) for line in predicted} == {5}
    assert {line.split("\t")[1] for line in tested[1:]} == {"a plant", "a tool"}
    assert predicted[0].split("\t")[3:] == ["p(a plant)", "p(a tool)"]


def test_predict_and_evaluate_agree(dtrain, run, data, tmp_path):
    dtrain.succeeds("predict", "--run", run, "--input", data / "test.tsv", *LENGTH, "--output", "out")
    with open(tmp_path / "out" / "predictions" / "predictions.tsv", encoding="utf-8") as file:
        predicted = [row["predicted"] for row in csv.DictReader(file, delimiter="\t")]
    labels = [line.split("\t")[0] for line in (data / "test.tsv").read_text().splitlines()[1:]]
    accuracy = sum(one == other for one, other in zip(predicted, labels, strict=True)) / len(labels)
    assert accuracy == pytest.approx(results(run)["metrics"]["test"]["accuracy"], abs=1e-9)


def test_inspect_shows_a_run_a_checkpoint_and_its_tensors(dtrain, run):
    method = results(run)["method"]
    ended = dtrain.succeeds("inspect", run)
    assert f'"method": "{method}"' in ended.out and "classifier.weight" in ended.out, ended
    assert ended.out.count("checkpoint/step-") >= 2 and "first_moments" in ended.out, ended
    ended = dtrain.succeeds("inspect", run / ("model" if method == "full" else "adapter"))
    assert re.search(r"classifier\.weight +Float +\[3, 32\] +96", ended.out), ended


def test_inspect_shows_the_labels_of_a_data_file(dtrain, data):
    ended = dtrain.succeeds("inspect", data / "test.tsv")
    assert "45 rows, single texts, labelled" in ended.out, ended
    assert re.search(r"^animal +15 +33\.33 %$", ended.out, re.M), ended


def test_inspect_of_what_is_nothing_says_what_it_expects(dtrain, tmp_path):
    dtrain.refuses("inspect", "nowhere", code=3, says="nowhere: there is no such file or directory")
    dtrain.refuses("inspect", tmp_path, code=3, says="expected a model, an adapter, a run's output or a checkpoint")
    for content, says in (("[" * 100_000, "nests deeper than 100 levels"), ("[1]", "expected a JSON object, found array"),
                          ('{"metrics": ', "is the file complete?")):
        (tmp_path / "results.json").write_text(content)
        dtrain.refuses("inspect", tmp_path, code=3, says=["results.json: ", says])
    (tmp_path / "results.json").write_text('{"metrics": {"dev": 3}}')
    assert '"dev": 3' in dtrain.succeeds("inspect", tmp_path).out


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_estimate_forecasts_what_the_run_then_is(dtrain, task, tmp_path, precision):
    untested = task[:task.index("--test")]
    run = ["--method", "lora", "--max-steps", "7", "--reduce-precision", precision]
    ended = dtrain.succeeds("estimate", *untested, *run, ranks=2)
    dtrain.succeeds("train", *task, *run, "--output", "out", ranks=2)
    cost = results(tmp_path / "out")["cost"]
    for row, value in (("trainable parameters", f"{cost['trainable_parameters']:,}"), ("steps", "7"),
                       ("bytes all-reduced a step", f"{cost['allreduce_bytes_per_step'] / 1024:.1f} KiB")):
        assert re.search(rf"^{row} +{re.escape(value)}$", ended.out, re.M), (row, value, ended)


def test_methods_lists_every_method_with_its_size_on_the_model(dtrain, tiny_model):
    ended = dtrain.succeeds("methods", "--model", tiny_model)
    sizes = dict(re.findall(r"^([\w-]+) +([\d,]+) +[\d.]+ % +(?:yes|no|whole) ", ended.out, re.M))
    assert {"full", "head", "layers", "lora", "lp-ft", "prefix"} <= set(sizes), ended
    assert sizes["head"] == "66" and sizes["full"] == sizes["lp-ft"] == "997,090", ended
    tables = [line for line in ended.out.splitlines() if not line.startswith("On ") and " is impossible: " not in line]
    assert all(len(line) <= 100 for line in tables), ended
    assert re.search(r"compacter is impossible: a hypercomplex linear layer from \d+ to \d+ needs a phm_dim", ended.out), ended


def test_methods_says_what_merges_how_it_is_saved_and_whose_it_is(dtrain, tiny_model):
    found = {}
    for table in dtrain.succeeds("methods", "--model", tiny_model).out.split("\n\n"):
        family = table.split("  ")[0].strip()
        for name, *rest in re.findall(r"^([\w-]+) +[\d,]+ +[\d.]+ % +(yes|no|whole) +(\S+) +(\S.*)$", table, re.M):
            found[name] = (family, *rest)
    expected = {
        "full": ("freezing", "whole", "model", "Devlin et al., 2019, NAACL"),
        "bitfit": ("freezing", "yes", "plain", "Ben Zaken et al., 2022, ACL"),
        "norm": ("freezing", "yes", "PEFT", "Zhao et al., 2024, ICLR"),
        "lora": ("reparametrization", "yes", "PEFT", "Hu et al., 2022, ICLR"),
        "fourierft": ("reparametrization", "yes", "PEFT", "Gao et al., 2024, ICML"),
        "houlsby": ("added modules", "no", "adapter-hub", "Houlsby et al., 2019, ICML"),
        "ia3": ("added modules", "yes", "PEFT", "Liu et al., 2022, NeurIPS"),
        "prefix": ("added modules", "no", "PEFT", "Li and Liang, 2021, ACL"),
        "mam": ("composition", "no", "adapter-hub", "He et al., 2022, ICLR"),
    }
    assert {name: found.get(name) for name in expected} == expected


def test_methods_says_what_a_method_can_be_set_to(dtrain):
    ended = dtrain.succeeds("methods", "lora", "prefix")
    assert re.search(r"^  r=8 +rank", ended.out, re.M) and "Hu et al., 2022" in ended.out, ended
    assert re.search(r"^  num_virtual_tokens=20 ", ended.out, re.M), ended
    dtrain.refuses("methods", "prefx", code=2, says=["unknown method 'prefx'", "did you mean 'prefix'"])


@pytest.mark.parametrize("kind, options, ranks, rows", [
    ("gemm", ["--model"], None, r"\[\d+, 32\] x \[32, 64\] +[\d.]+ +[\d.]+ +[\d.]+"),
    ("step", ["--model", "--max-length", "--train", "--dev"], 2, r"samples/s +[\d.]+ +[\d.]+ +[\d.]+"),
    ("forward", ["--model", "--max-length", "--train", "--dev"], 2, r"scoring of 120 examples +min +median +max\n.*\nseconds .*\nsamples/s +[\d.]+"),
])
def test_bench_prints_a_table(dtrain, task, kind, options, ranks, rows):
    given = [argument for option in options for argument in (option, task[task.index(option) + 1])]
    ended = dtrain.succeeds("bench", kind, *given, *BRIEFLY, ranks=ranks)
    assert re.search(rows, ended.out), ended


def test_bench_forward_says_what_it_scored(dtrain, task, tmp_path):
    given = [argument for option in ("--model", "--max-length", "--train", "--dev")
             for argument in (option, task[task.index(option) + 1])]
    dtrain.succeeds("bench", "forward", *given, "--samples", "40", "--json", "forward.json", *BRIEFLY)
    document = json.loads((tmp_path / "forward.json").read_text())
    assert document["examples"] == 40 and document["threads"] >= 1 and document["tokens_per_sample"] > 2
    assert 0 < document["least_seconds"] <= document["median_seconds"]
    assert document["samples_per_second"] == pytest.approx(40 / document["median_seconds"])
    assert document["peak_memory_bytes"] > 0


def test_bench_step_has_the_mean_of_whole_epochs(dtrain, task):
    given = [argument for option in ("--model", "--max-length", "--train", "--dev")
             for argument in (option, task[task.index(option) + 1])]
    ended = dtrain.succeeds("bench", "step", *given, "--method", "head", "--samples", "72", "--batch-size", "8",
                            "--whole-epochs", "--seconds", "0.001")
    assert re.search(r"^9 steps, 8\.0 samples a step, [\d.]+ tokens a sample", ended.out, re.M), ended
    row = re.search(r"^seconds +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", ended.out, re.M)
    least, median, most, mean = (float(number) for number in row.groups())
    assert least <= median <= most and least <= mean <= most, ended


@pytest.mark.parametrize("precision, ranks, size", [("fp32", 2, 4), ("bf16", 3, 2)])
def test_bench_of_collectives_fits_latency_and_bandwidth(dtrain, tmp_path, precision, ranks, size):
    ended = dtrain.succeeds("bench", "allreduce", "--json", "links.json", "--reduce-precision", precision, *BRIEFLY,
                            ranks=ranks)
    assert re.search(r"64\.0 MiB +.*\d\.\d\d", ended.out), ended
    assert f"{precision} over {ranks} ranks (mpi)" in ended.out, ended
    assert re.search(r"^all-reduce +[\d.]+ \w+ +[\d.]+ +[\d.]+$", ended.out, re.M), ended
    document = json.loads((tmp_path / "links.json").read_text())
    assert document["reduce_precision"] == precision
    assert document["ranks"] == ranks and [each["collective"] for each in document["collectives"]] == [
        "all-reduce", "reduce-scatter", "all-gather"]
    for each in document["collectives"]:
        assert len(each["bytes"]) == len(each["seconds"]) >= 8 and each["bytes_per_second"] > 0, each
        assert each["latency_seconds"] >= 0, each
        # What is sent: an equal share of a rank each, of 4 KiB together and more.
        assert all(count % (ranks * size) == 0 for count in each["bytes"]) and each["bytes"][0] >= 4096, each


def test_bench_of_the_norm_says_how_far_it_is_from_the_sum_in_double(dtrain, tmp_path):
    ended = dtrain.succeeds("bench", "norm", "--parameters", "3000000", "--json", "norm.json", *BRIEFLY)
    assert re.search(r"^norm of 3,000,000 floats +ms min +median +max +relative error$", ended.out, re.M), ended
    document = json.loads((tmp_path / "norm.json").read_text())
    assert document["parameters"] == 3_000_000 and document["threads"] == 1
    norms = {each["norm"]: each for each in document["norms"]}
    assert set(norms) == {"dtrain", "LibTorch"}
    for name, bound in (("dtrain", 1e-12), ("LibTorch", 1e-2)):
        assert 0 < norms[name]["least_seconds"] <= norms[name]["median_seconds"], name
        assert abs(norms[name]["relative_error"]) < bound, name
        assert re.search(rf"^{name} +[\d.]+ +[\d.]+ +[\d.]+ +-?\d\.\de[+-]\d+$", ended.out, re.M), ended


def test_bench_scaling_times_parts_of_the_ranks(dtrain, task, tmp_path):
    given = [argument for option in ("--model", "--max-length", "--train", "--dev")
             for argument in (option, task[task.index(option) + 1])] + BRIEFLY
    ended = dtrain.succeeds("bench", "scaling", *given, "--methods", "head,lora", "--json", "s.json", "--svg", "s.svg", ranks=4)
    assert len(re.findall(r"^(?:head|lora) +(?:strong|weak) +[124] ", ended.out, re.M)) == 2 * 2 * 3, ended
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["threads"] == 1 and document["ranks_of_node"] == 4 and document["cores"] >= 1, document
    points = document["points"]
    for point in points:
        parts = point["compute_seconds"] + point["imbalance_seconds"] + point["exchange_seconds"] + point["optimizer_seconds"]
        assert 0 < parts <= 1.2 * point["step_seconds"], point
        assert point["batch_size"] == 32 * (point["ranks"] if point["scaling"] == "weak" else 1), point
        assert point["efficiency"] == 1 or point["ranks"] > 1, point
        assert (point["reduced_bytes"] == 0) == (point["ranks"] == 1), point
        assert point["gathered_bytes"] == point["gather_seconds"] == 0 and not point["sharded_optimizer"], point
        assert point["dense_parameters"] == point["trainable_parameters"], point
        assert point["moment_bytes"] == 8 * point["trainable_parameters"], point
    drawn = xml.dom.minidom.parse(str(tmp_path / "s.svg")).documentElement
    assert drawn.tagName == "svg" and "Parallel efficiency" in drawn.toxml()
    dtrain.succeeds("bench", "scaling", *given, "--methods", "full", "--ranks", "2", "--shard-optimizer", "on", "--json", "s.json", ranks=2)
    for point in json.loads((tmp_path / "s.json").read_text())["points"]:
        assert point["sharded_optimizer"] and point["gather_seconds"] > 0, point
        assert 0 < point["gathered_bytes"] <= 4 * point["trainable_parameters"], point
        assert 0.4 < point["moment_bytes"] / (8 * point["trainable_parameters"]) < 0.6, point
        assert 0 < point["dense_parameters"] < point["trainable_parameters"], point
    dtrain.refuses("bench", "scaling", *given, "--ranks", "3", code=2, ranks=4, says="--ranks: expected numbers that divide")


def test_columns_may_have_any_name(dtrain, tiny_model, tmp_path):
    lines = [("q1", "an oak", "a tree", "yes"), ("q2", "a saw", "a bird", "no")] * 10
    write_tsv(tmp_path / "pairs.tsv", lines, header=("id", "left", "right", "same"))
    columns = ["--text-column", "left", "--pair-column", "right", "--label-column", "same"]
    given = ["train", "--model", tiny_model, *LENGTH, "--train", "pairs.tsv", "--max-steps", "2"]
    dtrain.succeeds(*given, *columns, "--output", "out")
    ended = dtrain.succeeds("evaluate", "--run", "out", "--input", "pairs.tsv", *LENGTH, *columns)
    assert re.search(r"^test +20 ", ended.out, re.M), ended
    dtrain.refuses(*given, "--text-column", "lift", code=3,
                   says=["there is no column 'lift'", "did you mean 'left'?", "id, left, right, same"])


def test_evaluate_without_input_says_that_the_embedded_test_set_does_not_fit(dtrain, run):
    dtrain.refuses("evaluate", "--run", run, *LENGTH, code=2, says=["--input: expected a file of inputs", "does not fit"])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_says_what_it_does_and_takes(dtrain, command):
    ended = dtrain.succeeds(command, "--help")
    assert ended.out.startswith(f"dtrain {command}: ") and f"dtrain {command}" in ended.out, ended
    assert "--config FILE" in ended.out, ended


def test_help_lists_the_commands(dtrain):
    ended = dtrain.succeeds("--help")
    assert re.findall(r"^  (\w+)  +\w", ended.out, re.M) == COMMANDS, ended


def test_version_names_the_back_ends_and_the_libraries(dtrain):
    ended = dtrain.succeeds("--version")
    assert re.search(r"^dtrain \d+\.\d+\.\d+$", ended.out, re.M), ended
    assert re.search(r"^back ends: single, mpi(, nccl)?$", ended.out, re.M), ended
    assert ("nccl" in ended.out) == ("NCCL " in ended.out), ended
    for library in (r"LibTorch \d+\.\d+", r"Open MPI v\d", r"Boost \d+\.\d+"):
        assert re.search(library, ended.out), ended
