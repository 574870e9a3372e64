"""`dtrain compare` as a user runs it: two ranks under mpirun, a tiny BERT and a tiny task, real signals and a real lock.

The environment names the program (DTRAIN) and mpirun (MPIEXEC).
"""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import jsonschema
import pytest

PROGRAM = os.environ["DTRAIN"]
MPIEXEC = os.environ["MPIEXEC"]
LABELS = ["animal", "motion", "plant", "sound"]
WORDS = {
    "animal": "dog cat horse bird fish wolf bear",
    "motion": "run walk jump swim climb fall turn",
    "plant": "tree flower grass oak rose herb leaf",
    "sound": "noise song bell cry music tone voice",
}


def write_rows(path, count, offset):
    lines = ["label\tsentence1"]
    for i in range(count):
        label = LABELS[i % 4]
        words = WORDS[label].split()
        other = WORDS[LABELS[(i // 4 + 1) % 4]].split()
        lines.append(f"{label}\t{words[(i + offset) % 7]} {words[(i * 3 + offset) % 7]} {other[i % 7]} number {i} {offset}")
    path.write_text("\n".join(lines) + "\n")


def write_material(folder):
    """A BERT of two layers with random weights, and files of a task of four classes."""
    import torch
    from transformers import BertConfig, BertModel

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "number"] + [str(i) for i in range(300)]
    vocabulary += [word for words in WORDS.values() for word in words.split()]
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=128)
    BertModel(config).save_pretrained(folder / "model")
    (folder / "model" / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    for name, count, offset in [("train", 160, 0), ("dev", 80, 1), ("test", 120, 2), ("web", 60, 5)]:
        write_rows(folder / f"{name}.tsv", count, offset)


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_material(folder)
    return folder


def command(material, *arguments, ranks=2, name="compare"):
    ood = ["--ood", f"web={material / 'web.tsv'}"] if name == "compare" else []
    return [MPIEXEC, "-np", str(ranks), PROGRAM, name, "--model", material / "model", "--train",
            material / "train.tsv", "--dev", material / "dev.tsv", "--test", material / "test.tsv", *ood,
            "--token-cache", "none", "--precision", "fp32", "--device", "cpu", "--threads", "1", *arguments]


METHODS = ["full", "head", "lora", "lora:use_dora=true"]
STUDY = ["--methods", ",".join(METHODS), "--samples", "40,80", "--max-steps", "40", "--seeds", "2", "--lrs",
         "0.001,0.01"]


def run(*arguments, **more):
    process = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, timeout=120,
                             **more)
    process.all = process.stdout + process.stderr
    return process


def results(directory):
    return json.loads((directory / "results.json").read_text())


def without_times(cells):
    """What must not depend on when or in how many parts a study ran."""
    for cell in cells:
        del cell["search_seconds"], cell["result_seconds"]
        for key in ("ranks", "threads_per_rank", "train_seconds", "samples_per_second", "tokens_per_second", "matmul_rate_share", "energy_joules",
                    "peak_memory_bytes", "peak_memory_above_base_bytes"):
            del cell["cost"][key]
        cell["cost"].pop("energy_of", None)
    return cells


@pytest.fixture(scope="session")
def study(material, tmp_path_factory):
    output = tmp_path_factory.mktemp("study") / "out"
    done = run(*command(material, *STUDY, "--output", output))
    assert done.returncode == 0, done.all
    return output, done.stdout


def test_prints_its_plan_with_a_forecast_then_tables_and_a_verdict(study):
    _, text = study
    plan = text.index("search from")
    table = text.index("test accuracy %")
    verdict = text.index("On test (120 examples, 2 seeds)")
    assert plan < text.index("trial 1/32") < text.index("trial 32/32") < table < verdict
    assert "2 + 2" in text[plan:table] and "in all" in text[plan:table]
    assert "all-reduced a step" in text
    assert "Out of domain (web) (60 examples, 2 seeds)" in text


def test_results_hold_plan_trials_cells_comparisons_and_verdict(study):
    document = results(study[0])
    assert document["schema"] == 1
    assert document["plan"]["samples"] == [40, 80]
    assert set(document["plan"]["result_seeds"]) & {document["plan"]["search_seed"]} == set()
    assert len(document["trials"]) == 32
    assert [(cell["method"], cell["samples"]) for cell in document["cells"]] == [
        (method, samples) for samples in (40, 80) for method in METHODS]
    assert len(document["comparisons"]) == 2 * 2 * 6
    assert [count["samples"] for count in document["verdict"]["counts"]] == [40, 80]
    for cell in document["cells"]:
        seeds = [trial for trial in document["trials"] if trial["phase"] == "result"
                 and trial["method"] == cell["method"] and trial["samples"] == cell["samples"]]
        assert {trial["learning_rate"] for trial in seeds} == {cell["learning_rate"]}
        assert {trial["subset_seed"] for trial in seeds} == {1, 2}
        for name in ("test", "ood.web"):
            accuracies = [trial["metrics"][name]["accuracy"] for trial in seeds]
            assert cell["metrics"][name]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2, abs=1e-15)


def test_dev_chooses_the_learning_rate(study):
    document = results(study[0])
    for cell in document["cells"]:
        searched = {trial["learning_rate"]: trial["metrics"]["dev"]["log_loss"] for trial in document["trials"]
                    if trial["phase"] == "search" and trial["method"] == cell["method"]
                    and trial["samples"] == cell["samples"]}
        assert len(searched) == 2
        best = min(searched.values())
        assert cell["learning_rate"] == min(rate for rate, loss in searched.items() if loss <= 1.02 * best), "the lowest that is alike"


def test_paired_differences_are_those_of_the_accuracies(study):
    document = results(study[0])
    means = {(cell["method"], cell["samples"], name): cell["metrics"][name]["accuracy"]["mean"]
             for cell in document["cells"] for name in ("test", "ood.web")}
    for pair in document["comparisons"]:
        expected = means[pair["first"], pair["samples"], pair["set"]] - means[pair["second"], pair["samples"], pair["set"]]
        assert pair["difference"] == pytest.approx(expected, abs=1e-12)


def test_the_report_has_the_verdict_and_how_to_repeat_it(study):
    text = (study[0] / "report.md").read_text()
    for part in ("## Verdict", "### 40 samples", "### 80 samples", "**Advice.**", "## Quality", "## Cost", "## Pairs",
                 "## Search", "mpirun -np 2 dtrain compare --config"):
        assert part in text
    for warning in (count["advice"] for count in results(study[0])["verdict"]["counts"]):
        assert warning in text


def test_results_are_as_the_schema_says(study):
    schema = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "results.schema.json").read_text())
    jsonschema.validate(results(study[0]), schema, jsonschema.Draft202012Validator)


def test_report_makes_the_same_files_again_from_the_journal(study, tmp_path):
    done = run(PROGRAM, "report", study[0], "--output", tmp_path / "again")
    assert done.returncode == 0 and "32 of 32 trials finished" in done.all, done.all
    for name in ("report.html", "report.md", "results.json", "trials.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (study[0] / name).read_bytes(), name
    page = (study[0] / "report.html").read_text()
    assert "mpirun -np 2 dtrain compare --config" in page and "2 ranks (back end mpi)" in page and "dtrain 0." in page
    assert (study[0] / "trials.csv").read_text().count("\n") == 1 + 32


def test_all_reduces_only_what_trains(study):
    for cell in results(study[0])["cells"]:
        assert cell["cost"]["allreduce_bytes_per_step"] == 4 * cell["cost"]["trainable_parameters"]
    trainable = {cell["method"]: cell["cost"]["trainable_parameters"] for cell in results(study[0])["cells"]}
    assert trainable["head"] < trainable["lora"] < trainable["lora:use_dora=true"] < trainable["full"]


def test_two_settings_of_a_method_are_two_methods(study):
    document = results(study[0])
    for samples in (40, 80):
        lora, dora = ([(trial["learning_rate"], trial["seed"], trial["metrics"]["dev"]["log_loss"])
                       for trial in document["trials"] if trial["method"] == method and trial["samples"] == samples]
                      for method in ("lora", "lora:use_dora=true"))
        assert len(lora) == len(dora) == 4 and not set(lora) & set(dora)


@pytest.mark.parametrize("method, folder", [("full", "model"), ("head", "adapter"), ("lora", "adapter")])
def test_stored_bytes_are_what_train_stores(material, study, tmp_path, method, folder):
    arguments = command(material, "--samples", "40", "--max-steps", "1", "--output", tmp_path / "run", ranks=1)
    arguments[arguments.index("compare")] = "train"
    done = run(*arguments, "--method", method)
    assert done.returncode == 0, done.all
    real = sum(file.stat().st_size for file in (tmp_path / "run" / folder).rglob("*") if file.is_file())
    assert {cell["cost"]["stored_bytes"] for cell in results(study[0])["cells"] if cell["method"] == method} == {real}
    assert not (study[0] / "stored.part").exists()


def finished(output):
    journal = output / "journal.jsonl"
    return sum('"phase"' in line for line in journal.read_text().splitlines(True) if line.endswith("\n")
               ) if journal.exists() else 0


def start_until(arguments, output, trials):
    """Starts a study and returns once so many of its trials are finished."""
    process = subprocess.Popen([str(argument) for argument in arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    deadline = time.time() + 100
    while finished(output) < trials and process.poll() is None and time.time() < deadline:
        time.sleep(0.005)
    return process


def ranks_of(mpirun):
    ranks = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == mpirun.pid:
            ranks.append(int(status.parent.name))
    return ranks


def test_goes_on_after_a_signal_a_kill_and_a_torn_line_to_the_same_cells(material, study, tmp_path):
    output = tmp_path / "out"
    arguments = command(material, *STUDY, "--output", output)

    process = start_until(arguments, output, 3)
    process.send_signal(signal.SIGUSR1)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 75, text
    assert "go on with --resume" in text
    after_signal = finished(output)
    assert 3 <= after_signal < 32

    process = start_until([*arguments, "--resume"], output, after_signal + 3)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 137, text
    assert f"{after_signal} trials are finished already" in text
    after_kill = finished(output)
    assert after_signal + 3 <= after_kill < 32
    assert not (output / "results.json").exists()

    journal = output / "journal.jsonl"
    torn = journal.read_text().splitlines()[1][:200]
    with journal.open("a") as stream:
        stream.write(torn)
    done = run(*arguments, "--resume")
    assert done.returncode == 0, done.all
    assert "the last line was cut short and is dropped" in done.all
    assert f"{after_kill} trials are finished already" in done.all
    assert f"trial {after_kill}/32" not in done.all and f"trial {after_kill + 1}/32" in done.all
    assert without_times(results(output)["cells"]) == without_times(results(study[0])["cells"])
    assert results(output)["comparisons"] == results(study[0])["comparisons"]


def test_a_study_that_runs_is_reported_as_far_as_it_is(material, tmp_path):
    output = tmp_path / "out"
    # So long that it does not end before the report is made.
    longer = ["2000" if word == "40" else word for word in STUDY]
    process = start_until(command(material, *longer, "--output", output), output, 2)
    partial = run(PROGRAM, "report", output, "--output", tmp_path / "partial")
    assert process.poll() is None
    process.send_signal(signal.SIGUSR1)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 75, text
    assert partial.returncode == 0 and "of 32 trials finished (partial results)" in partial.all, partial.all
    assert "partial" in (tmp_path / "partial" / "report.html").read_text()


def test_resume_of_a_finished_study_runs_nothing(material, study):
    files = ["journal.jsonl", "config.ini", "plan.json", "study.json", "results.json", "report.html", "trials.csv"]
    before = {name: (study[0] / name).read_bytes() for name in files}
    done = run(*command(material, *STUDY, "--output", study[0], "--resume"))
    assert done.returncode == 0, done.all
    assert "32 trials are finished already" in done.all and "nothing is left to run" in done.all
    assert "measuring" not in done.all and "trial 3" not in done.all
    assert {name: (study[0] / name).read_bytes() for name in files} == before


def test_resume_refuses_another_study_and_names_what_differs(material, study):
    settings = (study[0] / "config.ini").read_text()
    done = run(*command(material, *STUDY, "--output", study[0], "--resume", "--batch-size", "8"))
    assert done.returncode == 2
    assert "batch size is 32 there and 8 here" in done.all
    assert "methods" not in done.all.partition("of another study: ")[2]
    assert (study[0] / "config.ini").read_text() == settings


def test_a_lock_keeps_a_second_study_out(material, study):
    with (study[0] / "dtrain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for flag in ("--resume", "--overwrite"):
            done = run(*command(material, *STUDY, "--output", study[0], flag))
            assert done.returncode == 2
            assert "another dtrain works in" in done.all
    (study[0] / "dtrain.lock").unlink()
    assert finished(study[0]) == 32


def test_a_study_is_judged_anew_by_macro_f1_and_told_from_one_that_kept_no_classes(material, study, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(study[0], copy)
    done = run(*command(material, *STUDY, "--output", copy, "--resume", "--metric", "macro_f1"))
    assert done.returncode == 0, done.all
    assert "macro-F1" in done.stdout
    before = results(copy)
    assert before["verdict"]["metric"] == "macro_f1"
    means = {(cell["method"], cell["samples"], name): of_set["macro_f1"]["mean"]
             for cell in before["cells"] for name, of_set in cell["metrics"].items()}
    assert len(before["comparisons"]) == len(results(study[0])["comparisons"])
    for pair in before["comparisons"]:
        assert pair["metric"] == "macro_f1"
        difference = means[pair["first"], pair["samples"], pair["set"]] - means[pair["second"], pair["samples"], pair["set"]]
        assert abs(pair["difference"] - difference) < 1e-12
    report = run(PROGRAM, "report", copy)
    assert report.returncode == 0, report.all
    assert results(copy)["verdict"] == before["verdict"]
    # As an earlier version wrote it.
    lines = [json.loads(line) for line in (copy / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("predicted", None)
        del line["digest"]
    (copy / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = run(*command(material, *STUDY, "--output", copy, "--resume", "--metric", "macro_f1"))
    assert refused.returncode == 2
    assert "of the finished results in" in refused.all and "--metric accuracy" in refused.all
    assert run(*command(material, *STUDY, "--output", copy, "--resume")).returncode == 0


def test_a_study_is_judged_anew_by_log_loss_and_told_from_one_that_kept_none(material, study, tmp_path):
    import numpy as np

    copy = tmp_path / "copy"
    shutil.copytree(study[0], copy)
    done = run(*command(material, *STUDY, "--output", copy, "--resume", "--metric", "log_loss", "--margin", "5"))
    assert done.returncode == 0, done.all
    document = results(copy)
    schema = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "results.schema.json").read_text())
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    lines = [json.loads(line) for line in (copy / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        for name, text in line.get("values", {}).items():
            losses = np.frombuffer(bytes.fromhex(text["log_loss"]), ">f4").astype(float)
            assert losses.mean() == pytest.approx(line["metrics"][name]["log_loss"], abs=1e-6)
            right = np.array(list(bin(int("1" + line["scores"][name]["hex"], 16))[3:])) == "1"
            # Of what is answered rightly nobody is less sure than of four classes alike.
            assert losses[right[:len(losses)]].max() <= np.log(4) + 1e-6
    means = {(cell["method"], cell["samples"], name): of_set["log_loss"]["mean"]
             for cell in document["cells"] for name, of_set in cell["metrics"].items()}
    assert len(document["comparisons"]) == len(results(study[0])["comparisons"])
    for pair in document["comparisons"]:
        assert pair["metric"] == "log_loss"
        difference = means[pair["first"], pair["samples"], pair["set"]] - means[pair["second"], pair["samples"], pair["set"]]
        assert pair["difference"] == pytest.approx(difference, abs=1e-6)
    for count in document["verdict"]["counts"]:
        learned = [one["method"] for one in count["decision"]["methods"] if one["standing"] != "collapsed"]
        lowest = lambda methods: min(methods, key=lambda method: means[method, count["samples"], "test"])
        assert count["decision"]["best"] == lowest(learned)
        first = lowest(METHODS)
        assert f"{first} has the lowest log-loss" in count["findings"][0] or f"{first} wins with" in count["findings"][0]
    report = run(PROGRAM, "report", copy)
    assert report.returncode == 0, report.all
    assert results(copy)["verdict"] == document["verdict"]
    # As an earlier version wrote it.
    for line in lines:
        line.pop("values", None)
        del line["digest"]
    (copy / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = run(*command(material, *STUDY, "--output", copy, "--resume", "--metric", "log_loss"))
    assert refused.returncode == 2
    assert "of the finished results in" in refused.all and "--metric accuracy" in refused.all
    shown = run(PROGRAM, "report", copy)
    assert shown.returncode == 0, shown.all
    assert "without what log-loss is computed from" in (copy / "report.md").read_text()
    assert run(*command(material, *STUDY, "--output", copy, "--resume")).returncode == 0


def test_what_each_method_has_of_each_class_is_what_scikit_learn_says(study):
    from sklearn.metrics import precision_recall_fscore_support

    lines = [json.loads(line) for line in (study[0] / "journal.jsonl").read_text().splitlines()]
    truth = {one["name"]: one["labels"] for one in lines[0]["plan"]["sets"]}
    for cell in results(study[0])["cells"]:
        ended = [line for line in lines if line.get("phase") == "result" and line["learning_rate"] == cell["learning_rate"]
                 and (line["method"], line["samples"]) == (cell["method"], cell["samples"])]
        assert set(cell["classes"]) == {"test", "ood.web"} and len(ended) == 2
        for name, classes in cell["classes"].items():
            assert list(classes) == LABELS
            scores = []
            for line in ended:
                digits, text = (line["predicted"][name][key] for key in ("digits", "hex"))
                predicted = [int(text[i:i + digits], 16) for i in range(0, len(text), digits)]
                scores.append(precision_recall_fscore_support(truth[name], predicted, labels=range(4), zero_division=0))
            for i, found in enumerate(classes.values()):
                precision, recall, f1 = ([seed[part][i] for seed in scores] for part in range(3))
                assert found["examples"] == truth[name].count(i)
                assert found["precision"] == pytest.approx(sum(precision) / 2, abs=1e-12)
                assert found["recall"] == pytest.approx(sum(recall) / 2, abs=1e-12)
                assert found["f1"]["mean"] == pytest.approx(sum(f1) / 2, abs=1e-12) and found["f1"]["seeds"] == 2
    assert "F1 of each class on test with 80 examples" in (study[0] / "report.html").read_text()


def calibration_error(confidences, right):
    """Expected calibration error over 15 bins of equal width (Guo et al., 2017)."""
    import numpy as np

    bins = np.clip(np.ceil(15 * confidences).astype(int) - 1, 0, 14)
    return sum(abs((confidences - right)[bins == each].sum()) for each in range(15)) / len(right)


def test_every_metric_follows_from_what_a_journal_keeps_of_each_example(study):
    import numpy as np
    from sklearn import metrics

    lines = [json.loads(line) for line in (study[0] / "journal.jsonl").read_text().splitlines()]
    truth = {one["name"]: np.array(one["labels"]) for one in lines[0]["plan"]["sets"]}
    key = lambda trial: (trial["method"], trial["samples"], trial["learning_rate"], trial["seed"])
    found = {key(trial): trial["metrics"] for trial in results(study[0])["trials"] if trial["phase"] == "result"}
    results_seen = 0
    for line in lines:
        if line.get("phase") != "result":
            continue
        for name, labels in truth.items():
            digits, text = (line["predicted"][name][key] for key in ("digits", "hex"))
            predicted = np.array([int(text[i:i + digits], 16) for i in range(0, len(text), digits)])
            confidences = np.frombuffer(bytes.fromhex(line["confidences"][name]), ">f4").astype(float)
            losses = np.frombuffer(bytes.fromhex(line["values"][name]["log_loss"]), ">f4").astype(float)
            right = predicted == labels
            # Of four classes; and the right class has what it has, where that is what was predicted.
            assert len(confidences) == len(labels) and 0.25 <= confidences.min() and confidences.max() <= 1
            assert np.exp(-losses[right]) == pytest.approx(confidences[right], abs=1e-6)
            assert (np.exp(-losses[~right]) <= np.minimum(confidences, 1 - confidences)[~right] + 1e-6).all()
            expected = {
                "accuracy": right.mean(),
                "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
                "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
                "weighted_f1": metrics.f1_score(labels, predicted, average="weighted"),
                "matthews": metrics.matthews_corrcoef(labels, predicted),
                "log_loss": losses.mean(),
                "calibration_error": calibration_error(confidences, right),
            }
            of_trial = found[key(line)][name]
            assert set(of_trial) == set(expected), "a metric that the journal does not hold"
            assert of_trial == pytest.approx(expected, abs=1e-6)
            results_seen += 1
    assert results_seen == 2 * len(METHODS) * 2 * 2


def test_how_sure_a_journal_says_that_a_result_was_is_what_train_predicts(material, study, tmp_path):
    """The Brier score of the predicted class, which results.json has not, from the journal and from predictions."""
    import numpy as np

    line = next(line for line in map(json.loads, (study[0] / "journal.jsonl").read_text().splitlines())
                if line.get("phase") == "result" and line["method"] == "lora")
    done = run(*command(material, "--method", "lora", "--lr", str(line["learning_rate"]), "--seed", str(line["seed"]),
                        "--subset-seed", str(line["seed"]), "--samples", str(line["samples"]), "--max-steps", "40",
                        "--output", tmp_path / "alone", ranks=1, name="train"))
    assert done.returncode == 0, done.all
    header, *rows = [row.split("\t") for row in (tmp_path / "alone" / "predictions" / "test.tsv").read_text().splitlines()]
    assert header == ["id", "label", "predicted", "probability"]
    right = np.array([label == predicted for _, label, predicted, _ in rows])
    sure = np.array([float(probability) for *_, probability in rows])
    confidences = np.frombuffer(bytes.fromhex(line["confidences"]["test"]), ">f4").astype(float)
    assert confidences == pytest.approx(sure, abs=1e-6)
    kept = np.array(list(bin(int("1" + line["scores"]["test"]["hex"], 16))[3:]))[:len(rows)] == "1"
    assert ((confidences - kept) ** 2).mean() == pytest.approx(((sure - right) ** 2).mean(), abs=1e-6)


def test_costs_say_on_how_many_ranks_and_threads_they_were_measured(study):
    document = results(study[0])
    ranks = document["run"]["ranks_per_trial"]
    for cell in document["cells"]:
        assert (cell["cost"]["ranks"], cell["cost"]["threads_per_rank"]) == (ranks, 1)
    machine = "1 rank with 1 thread" if ranks == 1 else f"{ranks} ranks with 1 thread each"
    for text in (study[1], (study[0] / "report.md").read_text(), (study[0] / "report.html").read_text()):
        assert f"seconds of training were measured on {machine}, one group of the study" in text


SHORT = ["--methods", "head", "--samples", "40", "--max-steps", "2", "--seeds", "1"]


def test_without_output_earlier_results_are_kept(material, tmp_path):
    first = run(*command(material, *SHORT, "--lrs", "0.01"), cwd=tmp_path)
    assert first.returncode == 0, first.all
    assert (tmp_path / "dtrain-compare" / "report.md").exists()
    second = run(*command(material, *SHORT, "--lrs", "0.02"), cwd=tmp_path)
    assert second.returncode == 0, second.all
    assert "this one goes to dtrain-compare-2" in second.all
    assert results(tmp_path / "dtrain-compare-2")["cells"][0]["learning_rate"] == 0.02
    assert results(tmp_path / "dtrain-compare")["cells"][0]["learning_rate"] == 0.01
    # What trials mean may be asked again with another margin; what they are may not.
    third = run(*command(material, *SHORT, "--lrs", "0.02", "--resume", "--margin", "5", "--metric",
                         "balanced_accuracy"), cwd=tmp_path)
    assert third.returncode == 0 and "1 trials are finished already" in third.all
    verdict = results(tmp_path / "dtrain-compare-2")["verdict"]
    assert (verdict["margin"], verdict["metric"]) == (0.05, "balanced_accuracy")
    assert not (tmp_path / "dtrain-compare-3").exists()


def test_a_learning_rate_that_breaks_training_is_a_result_like_another(material, tmp_path):
    done = run(*command(material, "--samples", "40", "--max-steps", "5", "--seeds", "2", "--lrs", "0.001,1e38",
                        "--output", tmp_path / "out"))
    assert done.returncode == 0, done.all
    assert "failed, the " in done.all
    full, *others = results(tmp_path / "out")["cells"]
    assert [cell["method"] for cell in others] == ["head", "lora"]  # as no methods are named
    assert full["learning_rate"] == 0.001
    assert [step["dev"] is None for step in full["search"]] == [False, True]


def stop_of(curve, patience):
    """Where transformers' trainer would have stopped, and the step before which it would not."""
    from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

    callback = EarlyStoppingCallback(early_stopping_patience=patience)
    arguments = TrainingArguments(metric_for_best_model="log_loss", greater_is_better=False, report_to=[])
    state, control = TrainerState(), TrainerControl()
    for point in curve:
        loss = point["dev"]["log_loss"]
        callback.on_evaluate(arguments, state, control, {"eval_log_loss": loss})
        if state.best_metric is None or loss < state.best_metric:
            state.best_metric = loss
        if control.should_training_stop:
            return point["step"]
    return curve[-1]["step"]


def test_patience_stops_searches_as_transformers_would_and_no_results(material, tmp_path):
    common = ["--methods", "full,lora", "--samples", "40", "--max-steps", "40", "--seeds", "2", "--lrs", "0.001,0.01,0.1",
              "--ranks-per-trial", "1"]
    trials = {}
    for patience in (0, 1):
        done = run(*command(material, *common, "--patience", str(patience), "--output", tmp_path / str(patience)))
        assert done.returncode == 0, done.all
        trials[patience] = {(trial["phase"], trial["method"], trial["learning_rate"], trial["seed"]): trial
                            for trial in results(tmp_path / str(patience))["trials"]}
    stopped = 0
    for key, trial in trials[1].items():
        whole = trials[0].get(key)
        if trial["failure"]:
            continue
        if key[0] == "result":
            assert (trial["steps"], trial["stopped_early"]) == (40, False)
        elif whole:
            assert trial["steps"] == stop_of(whole["curve"], 1), key
            assert trial["stopped_early"] == (trial["steps"] < 40)
            assert trial["curve"] == [point for point in whole["curve"] if point["step"] <= trial["steps"]]
            stopped += trial["stopped_early"]
    assert stopped > 0, "nothing was tested"
    other = run(*command(material, *common, "--patience", "2", "--output", tmp_path / "1", "--resume"))
    assert other.returncode == 2 and "patience of the search is 1 there and 2 here" in other.stderr, other.all


def test_what_a_method_costs_does_not_depend_on_the_order_of_methods(material, tmp_path):
    # Examples of 8 tokens of 128 bytes: 80 for training, 80 of dev, 120 and 60 of the two tests. The token states that a
    # trial of layers:k=1 keeps of them fit, and head's 340 vectors, but not both, nor those of two seeds.
    memory = str(340 * 8 * 128 + 10_000)
    cells = []
    for order in (["layers:k=1", "head"], ["head", "layers:k=1"]):
        output = tmp_path / order[0].partition(":")[0]
        done = run(*command(material, "--methods", ",".join(order), "--samples", "80", "--max-steps", "5", "--seeds", "2",
                            "--lrs", "0.01", "--cache-memory", memory, "--output", output, ranks=1))
        assert done.returncode == 0, done.all
        assert "computed again each time" not in done.all
        cells.append(sorted(without_times(results(output)["cells"]), key=lambda cell: cell["method"]))
    assert cells[0] == cells[1]


def test_what_memory_a_method_takes_has_nothing_of_the_methods_before_it(material, tmp_path):
    import torch
    from transformers import BertConfig, BertModel

    # Of 50 MiB, most of it word embeddings that no text reaches: far more than what a run takes besides.
    model = BertModel(BertConfig(vocab_size=200_000, hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
                                 intermediate_size=64, max_position_embeddings=128))
    model.save_pretrained(tmp_path / "model")
    shutil.copy(material / "model" / "vocab.txt", tmp_path / "model")
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    taken = []
    for order in (["full", "head"], ["head", "full"]):
        output = tmp_path / order[0]
        arguments = command(material, "--methods", ",".join(order), "--samples", "40", "--max-steps", "3", "--seeds", "2",
                            "--lrs", "0.001", "--output", output, ranks=1)
        arguments[arguments.index("--model") + 1] = tmp_path / "model"
        done = run(*arguments)
        assert done.returncode == 0, done.all
        taken.append({cell["method"]: cell["cost"]["peak_memory_bytes"] for cell in results(output)["cells"]})
    for cost in taken:
        assert 3.5 * size < cost["full"], "the weights, their gradients and two moments"
        assert size < cost["head"] < 2.5 * size
    for method in taken[0]:
        assert abs(taken[0][method] - taken[1][method]) < size / 2, method


def test_a_method_whose_features_do_not_fit_is_said_to_compute_them_again(material, tmp_path):
    done = run(*command(material, "--methods", "layers:k=1", "--samples", "80", "--max-steps", "5", "--seeds", "2", "--lrs",
                        "0.01", "--cache-memory", str(340 * 8 * 128 - 1), "--output", tmp_path / "out", ranks=1))
    assert done.returncode == 0, done.all
    assert "computed again each time" in done.all


@pytest.mark.parametrize("arguments, message", [
    (["--margin", "-1"], "--margin: expected points, above 0 and below 100, found -1"),
    (["--metric", "calibration_error"], "--metric: expected one of auto, accuracy, balanced_accuracy, macro_f1, weighted_f1, "
     "matthews, log_loss, samples_f1, subset_accuracy, r2, mae, mse, found 'calibration_error'"),
    (["--metric", "samples_f1"], "--metric: single_label_classification cannot be compared by samples_f1; expected one of "
     "accuracy, balanced_accuracy, macro_f1, weighted_f1, matthews, log_loss"),
    (["--methods", "full,lorra"], "unknown method 'lorra'; did you mean 'lora'?"),
    (["--methods", "lora:rank=3"], "rank"),
    (["--methods", "head,head"], "'head' is named twice"),
    (["--samples", "40,5000"], "--samples 5000: more than the 160 training examples"),
    (["--lrs", "0"], "--lrs: expected a number above 0, found '0'"),
    (["--lrs", "0.1,-1"], "found '-1'"),
    (["--lrs", "nan"], "found 'nan'"),
    (["--samples", "2", "--ranks-per-trial", "3"], "3 ranks a trial, but --samples 2"),
    (["--ranks-per-trial", "2"], "--ranks-per-trial 2: 3 ranks cannot be dealt into groups of that size"),
    (["--ranks-per-trial", "0"], "--ranks-per-trial: expected auto or a whole number from 1, found '0'"),
    (["--seeds", "-1"], "--seeds: expected 0 or more, found -1"),
    (["--budget", "10"], "--budget: expected a time above 0 such as 90s, 10m, 6h or 2d, none or auto, found '10'"),
    (["--budget", "0m"], "found '0m'"),
    (["--max-time", "10"], "--max-time: expected a time above 0 such as 90s, 10m, 6h or 2d, none or auto, found '10'"),
    (["--search", "deep"], "--search: expected one of auto, quick, halving, fine, found 'deep'"),
    (["--plan", "plan.json", "--seeds", "3"], "--plan"),
])
def test_refuses_what_cannot_be(material, tmp_path, arguments, message):
    done = run(*command(material, "--output", tmp_path / "out", *arguments, ranks=3))
    assert done.returncode == 2, done.all
    assert message in done.all
    assert done.all.count("dtrain: error:") == 1


def test_refuses_a_directory_that_holds_something_and_leaves_it_alone(material, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run(*command(material, *SHORT, "--output", tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.all and "--overwrite" in done.all
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_study_that_cannot_begin_leaves_its_directory_to_the_next_try(material, tmp_path):
    shutil.copytree(material / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    arguments = command(material, *SHORT, "--output", tmp_path / "out")
    arguments[arguments.index("--model") + 1] = tmp_path / "model"
    done = run(*arguments)
    assert done.returncode == 3 and "not a valid safetensors file" in done.all, done.all
    shutil.copy(material / "model" / "model.safetensors", tmp_path / "model")
    done = run(*arguments)
    assert done.returncode == 0, done.all


def test_needs_test_examples(material, tmp_path):
    arguments = [argument for argument in command(material, *SHORT, "--output", tmp_path / "out")]
    at = arguments.index("--test")
    done = run(*arguments[:at], *arguments[at + 2:])
    assert done.returncode == 2
    assert "no test examples; name a file of them with --test" in done.all


def equal_but_for_costs(one, other):
    assert without_times(results(one)["cells"]) == without_times(results(other)["cells"])
    assert results(one)["comparisons"] == results(other)["comparisons"]


@pytest.mark.parametrize("ranks", [1, 4])
def test_results_do_not_depend_on_how_many_groups_share_the_trials(material, study, tmp_path, ranks):
    done = run(*command(material, *STUDY, "--ranks-per-trial", "1", "--output", tmp_path / "out", ranks=ranks))
    assert done.returncode == 0, done.all
    document = results(tmp_path / "out")
    assert document["run"]["groups"] == ranks
    assert {trial["ranks"] for trial in document["trials"]} == {1}
    assert {trial["group"] for trial in document["trials"]} == set(range(ranks))
    equal_but_for_costs(tmp_path / "out", study[0])


def test_virtual_ranks_make_groups_of_any_size_alike(material, tmp_path):
    for name, ranks, size in [("one", 1, 1), ("two", 4, 2), ("four", 4, 4)]:
        done = run(*command(material, "--methods", "full,lora", "--samples", "40", "--max-steps", "10", "--seeds", "2",
                            "--lrs", "0.001,0.01", "--virtual-ranks", "4", "--ranks-per-trial", str(size), "--output",
                            tmp_path / name, ranks=ranks))
        assert done.returncode == 0, done.all
        assert {trial["ranks"] for trial in results(tmp_path / name)["trials"]} == {size}
        equal_but_for_costs(tmp_path / name, tmp_path / "one")


def test_a_study_is_gone_on_with_by_more_and_by_other_trials(material, tmp_path):
    common = ["--max-steps", "10", "--lrs", "0.001,0.01", "--output", tmp_path / "grown"]
    # auto might join the ranks for so few trials, and round otherwise: what it chose, or was told, stays.
    first = run(*command(material, "--methods", "head", "--samples", "40", "--seeds", "1", "--ranks-per-trial", "2",
                         *common))
    assert first.returncode == 0, first.all
    grown = run(*command(material, "--methods", "head,lora", "--samples", "40,80", "--seeds", "2", *common, "--resume"))
    assert grown.returncode == 0, grown.all
    assert "3 trials are finished already" in grown.all
    assert {trial["ranks"] for trial in results(tmp_path / "grown")["trials"]} == {2}
    assert sum('"phase"' in line for line in (tmp_path / "grown" / "journal.jsonl").read_text().splitlines()) == 16
    common[-1] = tmp_path / "whole"
    whole = run(*command(material, "--methods", "head,lora", "--samples", "40,80", "--seeds", "2", "--ranks-per-trial",
                         "2", *common))
    assert whole.returncode == 0, whole.all
    equal_but_for_costs(tmp_path / "grown", tmp_path / "whole")
    common[-1] = tmp_path / "grown"
    fewer = run(*command(material, "--methods", "lora", "--samples", "80", "--seeds", "2", *common, "--resume"))
    assert fewer.returncode == 0, fewer.all
    assert "16 trials are finished already" in fewer.all
    assert [cell["method"] for cell in results(tmp_path / "grown")["cells"]] == ["lora"]
    assert len(results(tmp_path / "grown")["trials"]) == 4


def test_a_plan_is_run_again_elsewhere(material, study, tmp_path):
    at = STUDY.index("--max-steps")
    done = run(*command(material, "--plan", study[0] / "plan.json", *STUDY[at:at + 2], "--output", tmp_path / "out"))
    assert done.returncode == 0, done.all
    equal_but_for_costs(tmp_path / "out", study[0])
    (tmp_path / "bad.json").write_text('{"schema": 1, "methods": []}')
    done = run(*command(material, "--plan", tmp_path / "bad.json", "--output", tmp_path / "bad"))
    assert done.returncode == 3 and "bad.json: not the plan of a study" in done.all


def test_a_budget_chooses_counts_seeds_and_search(material, tmp_path):
    done = run(*command(material, "--methods", "head,lora", "--budget", "1h", "--max-steps", "4", "--output",
                        tmp_path / "out"))
    assert done.returncode == 0, done.all
    document = results(tmp_path / "out")
    assert document["plan"]["samples"] == [100, 160] or document["plan"]["samples"] == [160]
    assert len(document["plan"]["result_seeds"]) == 5 and document["plan"]["search"] == "fine"
    assert document["run"]["budget_seconds"] == 3600 and document["run"]["changes"] == []
    assert "; budget 1 h" in done.all


def test_all_test_examples_are_scored_where_time_allows_and_a_study_keeps_what_it_began_with(material, tmp_path):
    for name in ("train", "dev", "web"):
        shutil.copy(material / f"{name}.tsv", tmp_path)
    shutil.copytree(material / "model", tmp_path / "model")
    write_rows(tmp_path / "test.tsv", 2100, 3)
    little = ["--max-steps", "4", "--output"]

    def scored(name, *arguments, ranks=2):
        methods = [] if "--plan" in arguments else ["--methods", "head"]
        done = run(*command(tmp_path, *methods, *little, tmp_path / name, *arguments, ranks=ranks))
        assert done.returncode == 0, done.all
        plan = results(tmp_path / name)["plan"]
        assert f"{plan['sets'][0]['examples']:,} test and 60 out-of-domain examples" in done.stdout or "nothing is left" in done.stdout
        return {each["name"]: each["examples"] for each in plan["sets"]}

    given = ["--samples", "40", "--seeds", "2", "--lrs", "0.01"]
    assert scored("unlimited", *given) == {"test": 2100, "ood.web": 60}
    assert scored("asked", *given, "--test-samples", "50", "--ood-samples", "auto") == {"test": 50, "ood.web": 60}
    assert scored("long", "--budget", "10m", "--seeds", "2") == {"test": 2100, "ood.web": 60}
    assert scored("short", "--budget", "0.01s") == {"test": 2000, "ood.web": 60}
    # Whatever is said later.
    few_plan, many_plan = tmp_path / "short" / "plan.json", tmp_path / "unlimited" / "plan.json"
    assert scored("elsewhere", "--plan", many_plan) == {"test": 2100, "ood.web": 60}
    assert scored("also", "--plan", few_plan, ranks=1) == {"test": 2000, "ood.web": 60}
    for more in (["--budget", "10m"], ["--plan", many_plan], ["--samples", "40", "--seeds", "2"]):
        assert scored("also", *more, "--resume", ranks=1) == {"test": 2000, "ood.web": 60}
    for more in (["--budget", "0.01s"], ["--plan", few_plan], ["--test-samples", "0", *given], given):
        assert scored("unlimited", *more, "--resume") == {"test": 2100, "ood.web": 60}
    done = run(*command(tmp_path, "--methods", "head", *little, tmp_path / "unlimited", *given, "--test-samples", "50",
                        "--resume"))
    assert done.returncode == 2 and "test data" in done.all
    for name, examples in (("unlimited", "2,100"), ("also", "2,000")):
        done = run(*command(tmp_path, "--methods", "bitfit", "--max-steps", "4", "--output", tmp_path / name, ranks=1,
                            name="diagnose"))
        assert done.returncode == 0 and f"{examples} test examples" in done.all, done.all


def test_a_budget_that_proves_too_small_shortens_the_plan_and_says_so(material, tmp_path):
    done = run(*command(material, "--methods", "full", "--budget", "1s", "--samples", "40,80", "--seeds", "4", "--lrs",
                        "0.001,0.01", "--max-steps", "300", "--output", tmp_path / "out"))
    assert done.returncode == 0, done.all
    assert "even the smallest plan is too long" in done.all
    assert "plan shortened: 80 samples without seed 4" in done.all
    document = results(tmp_path / "out")
    assert document["run"]["changes"]
    first = [cell for cell in document["cells"] if cell["samples"] == 40]
    assert len(first) == 1 and first[0]["metrics"]["test"]["accuracy"]["seeds"] >= 2
    assert f"The plan was shortened: {document['run']['changes'][0]}." in document["notes"]
    again = run(*command(material, "--methods", "full", "--budget", "1s", "--samples", "40,80", "--seeds", "4", "--lrs",
                         "0.001,0.01", "--max-steps", "300", "--output", tmp_path / "out", "--resume"))
    assert again.returncode == 0, again.all
    assert "nothing is left to run" in again.all and "measuring" not in again.all
    assert results(tmp_path / "out")["run"] == document["run"]


def test_groups_that_wait_do_not_run_into_the_timeout(material, tmp_path):
    # One trial, and three groups that have none for longer than --comm-timeout.
    done = run(*command(material, "--methods", "full", "--samples", "160", "--seeds", "1", "--lrs", "0.001",
                        "--max-steps", "1500", "--comm-timeout", "2", "--output", tmp_path / "out", ranks=4))
    assert done.returncode == 0, done.all
    assert results(tmp_path / "out")["trials"][0]["seconds"] > 2, "the trial must outlast the timeout"


def test_a_group_that_is_silent_ends_the_study_with_its_name(material, tmp_path):
    output = tmp_path / "out"
    process = start_until(command(material, *[{"40": "400"}.get(word, word) for word in STUDY], "--comm-timeout", "3", "--output", output),
                          output, 2)
    ranks = sorted(ranks_of(process))
    try:
        os.kill(ranks[1], signal.SIGSTOP)
        text, _ = process.communicate(timeout=60)
    finally:
        try:
            os.kill(ranks[1], signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert process.returncode == 5, text
    assert "the group of rank 1 has been silent for" in text
    assert finished(output) >= 2


def write_next_task(folder, word="red"):
    folder.mkdir()
    for name, count in [("train", 90), ("dev", 30), ("test", 60)]:
        lines = ["text\tlabel"]
        for i in range(count):
            kind = i % 3
            lines.append(f"{['dog', 'tree', 'bell'][kind]} number {i} {word}\t{['one', 'two', 'three'][kind]}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def holm(p_values):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0] * len(p_values), 0
    for rank, i in enumerate(order):
        largest = max(largest, min(1, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = largest
    return adjusted


def test_a_next_task_says_what_it_makes_each_method_forget(material, tmp_path):
    import scipy.stats

    following = write_next_task(tmp_path / "next")
    study = ["--methods", "full,head,lora", "--samples", "80", "--max-steps", "40", "--seeds", "3", "--lrs", "0.01"]
    done = run(*command(material, *study, "--then", following, "--output", tmp_path / "out"))
    assert done.returncode == 0, done.all
    assert "backward transfer" in done.all
    document = results(tmp_path / "out")
    schema = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "results.schema.json").read_text())
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    measured = {}
    for trial in document["trials"]:
        forgotten = trial["forgetting"]
        if trial["phase"] == "search":
            assert forgotten == {}
            continue
        assert set(forgotten) == {"first_task", "first_task_before", "backward_transfer", "next_task"}
        assert forgotten["first_task_before"] == trial["metrics"]["test"]["accuracy"]
        assert forgotten["backward_transfer"] == forgotten["first_task"] - forgotten["first_task_before"]
        for name, value in forgotten.items():
            measured.setdefault(name, {}).setdefault(trial["method"], {})[trial["seed"]] = value
    assert set(measured["backward_transfer"]["head"].values()) == {0.0}, "a frozen body forgets nothing"
    assert any(value < 0 for value in measured["backward_transfer"]["full"].values())
    assert min(measured["next_task"]["full"].values()) > 0.5, "three words decide its three classes"

    comparisons = document["forgetting_comparisons"]
    assert {comparison["measure"] for comparison in comparisons} == {"first_task", "backward_transfer", "next_task"}
    assert len(comparisons) == 3 * 3
    for comparison in comparisons:
        first, second = (measured[comparison["measure"]][comparison[side]] for side in ("first", "second"))
        assert set(first) == set(second) == {1, 2, 3} and comparison["seeds"] == 3
        pairs = [[values[seed] for seed in (1, 2, 3)] for values in (first, second)]
        differences = [left - right for left, right in zip(*pairs)]
        if max(differences) - min(differences) < 1e-12:  # scipy has no test for what does not scatter
            if min(map(abs, differences)) > 1e-6:
                assert comparison["p"] == 0.25 and comparison["interval"] == [None, None] and not comparison["shown"]
            continue
        test = scipy.stats.ttest_rel(*pairs)
        assert comparison["p"] == pytest.approx(test.pvalue, abs=1e-9)
        interval = test.confidence_interval(0.95)
        assert comparison["interval"] == pytest.approx([interval.low, interval.high], abs=1e-9)
        family = [other for other in comparisons if all(other[key] == comparison[key] for key in ("measure", "samples"))]
        assert comparison["holm_p"] == pytest.approx(holm([other["p"] for other in family])[family.index(comparison)])
        assert comparison["shown"] == (comparison["holm_p"] < 0.05)
    for cell in document["cells"]:
        for name, mean in cell["forgetting"].items():
            values = list(measured[name][cell["method"]].values())
            assert mean["mean"] == pytest.approx(sum(values) / 3, abs=1e-12) and mean["seeds"] == 3
    assert "backward transfer" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Forgetting against gain: backward transfer" in page and "full - head" in page
    assert "forgetting.backward_transfer" in (tmp_path / "out" / "trials.csv").read_text().split("\r\n")[0]

    other = write_next_task(tmp_path / "again", word="blue")
    refused = run(*command(material, *study, "--then", other, "--output", tmp_path / "out", "--resume"))
    assert refused.returncode == 2 and "next task is next" in refused.stderr, refused.all


def test_a_next_task_that_is_not_there_is_refused_with_what_is_expected(material, tmp_path):
    following = write_next_task(tmp_path / "next")
    (following / "test.tsv").unlink()
    done = run(*command(material, *SHORT, "--then", following, "--output", tmp_path / "out"))
    assert done.returncode == 3 and "found no test in" in done.stderr, done.all
    (following / "train.csv").write_text("text,label\n")
    done = run(*command(material, *SHORT, "--then", following, "--output", tmp_path / "out"))
    assert done.returncode == 3 and "train.tsv" in done.stderr and "train.csv" in done.stderr, done.all


def test_what_training_forgot_is_measured_where_it_is_asked(material, tmp_path):
    (tmp_path / "general.txt").write_text("".join(f"{word} number {i}\n" for i, word in enumerate(
        word for words in WORDS.values() for word in words.split())))
    for ranks, size in [(1, 1), (2, 2)]:
        done = run(*command(material, "--methods", "full,lora", "--samples", "40", "--max-steps", "20", "--seeds", "2", "--lrs",
                            "0.01", "--retain", tmp_path / "general.txt", "--ranks-per-trial", str(size), "--output",
                            tmp_path / str(size), ranks=ranks))
        assert done.returncode == 0, done.all
        known = results(tmp_path / str(size))["plan"]["identity"]["retained texts"]
    (tmp_path / "other.txt").write_text((tmp_path / "general.txt").read_text() + "one more\n")
    for retained, found in [(["--retain", tmp_path / "other.txt"], ""), ([], "not set")]:
        refused = run(*command(material, "--methods", "full,lora", "--samples", "40", "--max-steps", "20", "--seeds", "2", "--lrs",
                               "0.01", *retained, "--output", tmp_path / "1", "--resume", ranks=1))
        assert refused.returncode == 2, refused.all
        assert f"of another study: retained texts is {known} there and {found}" in refused.all, refused.all
    for size in ("1", "2"):
        trials = results(tmp_path / size)["trials"]
        for trial in trials:
            measured = trial["forgetting"]
            assert 0 <= measured["cka"] <= 1 + 1e-12 and -1 <= measured["similarity_agreement"] <= 1
            assert measured["cka"] < 1 - 1e-6, "training moved the states"
        assert len({trial["forgetting"]["cka"] for trial in trials}) == 4, "every trial was asked by itself"
        assert "Forgetting" in (tmp_path / size / "report.html").read_text()
    done = run(*command(material, *SHORT, "--retain", tmp_path / "missing.txt", "--output", tmp_path / "none"))
    assert done.returncode == 3 and "missing.txt" in done.all


def test_balanced_class_weights_are_those_of_each_draw(material, tmp_path):
    """A result of a study is what `train` makes of the same draw, weights included."""
    rows = (material / "train.tsv").read_text().splitlines()
    uneven = [row for i, row in enumerate(rows[1:]) if row.startswith("animal") or i % 3 == 0]
    (tmp_path / "train.tsv").write_text("\n".join([rows[0], *uneven]) + "\n")
    for name in ("dev", "test", "web"):
        shutil.copy(material / f"{name}.tsv", tmp_path)
    shutil.copytree(material / "model", tmp_path / "model")
    short = ["--max-steps", "8", "--samples", "40"]
    found = {}
    for weights in ([], ["--class-weights", "balanced"]):
        output = tmp_path / f"study{len(weights)}"
        done = run(*command(tmp_path, *short, *weights, "--methods", "full", "--lrs", "0.01", "--seeds", "2", "--output",
                            output, ranks=1))
        assert done.returncode == 0, done.all
        trials = [trial for trial in results(output)["trials"] if trial["phase"] == "result"]
        for trial in trials:
            seed = str(trial["seed"])
            alone = tmp_path / f"alone{len(weights)}-{seed}"
            done = run(*command(tmp_path, *short, *weights, "--method", "full", "--lr", "0.01", "--seed", seed,
                                "--subset-seed", seed, "--output", alone, ranks=1, name="train"))
            assert done.returncode == 0, done.all
            assert results(alone)["metrics"]["test"]["log_loss"] == trial["metrics"]["test"]["log_loss"]
            found[len(weights), seed] = trial["metrics"]["test"]["log_loss"]
    assert len(set(found.values())) == 4
