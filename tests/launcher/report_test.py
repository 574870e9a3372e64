"""`dtrain report`: the page and its companions, from journals of studies that nobody ran."""

import csv
import json
import os
import pathlib
import random
import re
import xml.etree.ElementTree as xml

import jsonschema
import pytest
from digests import flipped, with_digest
from journals import LABELS, METHODS, SETTING, study_plan, study_trials, write_study

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "results.schema.json").read_text())


def page_of(path):
    """The page as an XML document, checked for what every page must have."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    page = xml.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    tags = [element.tag for element in page.iter()]
    assert "script" not in tags and "link" not in tags and "img" not in tags and "iframe" not in tags
    for element in page.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on"), (element.tag, name)
            assert name not in ("src", "data", "action"), (element.tag, name)
            assert name not in ("href",) or value.startswith("#"), value
    assert not re.search(r"url\((?!#)|@import|https?:", text), "nothing from outside"
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in page.iter():
        if element.tag == "a":
            assert element.get("href")[1:] in ids
        if element.get("clip-path"):
            assert element.get("clip-path")[5:-1] in ids
    for figure in page.iter("svg"):
        title, description = figure.find("title"), figure.find("desc")
        assert figure.get("role") == "img" and title.text and description.text
        assert figure.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
        for shape in figure.iter():
            for name in ("d", "points", "x", "y", "width", "height", "cx", "cy", "r"):
                assert not re.search("nan|inf", shape.get(name, "")), (shape.tag, shape.attrib)
    return page


def words_of(element):
    return re.sub(r"\s+", " ", "".join(element.itertext()))


def answer_of(page):
    return [words_of(block) for block in page.iter("div") if (block.get("class") or "").startswith("answer")]


def titles_of(page):
    return [words_of(caption.find("b")) for caption in page.iter("figcaption")]


def csv_rows(path):
    text = path.read_bytes().decode()
    assert text.endswith("\r\n") and text.count("\r\n") == text.count("\n")
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole study of four methods at three counts on two groups, with collapsed and failed runs."""
    plan = study_plan(["full", "head", "lora", "bitfit"], [100, 1000, 10000], seeds=5)
    trials = study_trials(plan, collapsed={("full", 100, 2), ("full", 100, 3)}, failed={("lora", 1000, 1)})
    return write_study(tmp_path_factory.mktemp("whole") / "study", plan, trials)


@pytest.fixture
def study(whole, tmp_path):
    for name in ("journal.jsonl", "study.json"):
        (tmp_path / "study").mkdir(exist_ok=True)
        (tmp_path / "study" / name).write_bytes((whole / name).read_bytes())
    return tmp_path / "study"


def test_the_first_sentence_is_the_answer_then_how_sure_then_what_else_costs(dtrain, study):
    ended = dtrain.succeeds("report", study)
    assert "96 of 96 trials finished" in ended.out and "partial" not in ended.out, ended
    page = page_of(study / "report.html")
    results = json.loads((study / "results.json").read_text())
    decision = results["verdict"]["counts"][-1]["decision"]
    taken = decision["advised"] or decision["best"]
    main = page.find("body/main")
    assert [child.tag for child in main][:3] == ["h1", "div", "h3"]
    first, certainty = (words_of(part) for part in main.find("div").findall("p")[:2])
    assert taken in first.partition(":")[0] and "10,000 labelled examples" in first
    assert certainty.startswith("How sure: ")
    header, *rows = [[words_of(cell) for cell in row] for row in main.find(".//table").iter("tr")]
    assert rows[0][0] == f"{taken} (the answer)" and len(rows) == 4
    losses = {entry["method"]: entry["loss"] for entry in decision["methods"]}
    assert header[2:4] == ["seeds", f"points lost against {taken}"] and len(losses) == 4


def test_every_figure_that_the_journal_has_the_numbers_of_is_there(dtrain, study):
    dtrain.succeeds("report", study)
    titles = " | ".join(titles_of(page_of(study / "report.html")))
    for title in ["More data: accuracy on test", "More data: accuracy on web (out of domain)", "Difference to full on test",
                  "What training costs, and what it gives, with 10,000 examples",
                  "Forgetting against gain: retrieval mrr change", "Class by class", "The search for the learning rate, 100 examples",
                  "Learning curves, 1,000 examples", "Runs that learned nothing", "The study as it ran"]:
        assert title in titles, titles


def table_of(page, *columns):
    """The first table with these columns, a dictionary a row."""
    for table in page.iter("table"):
        header, *rows = [[words_of(cell) for cell in row] for row in table.iter("tr")]
        if set(columns) <= set(header):
            return [dict(zip(header, row, strict=True)) for row in rows]
    raise AssertionError(columns)


def test_each_seed_is_a_dot_and_counts_in_the_table(dtrain, study):
    dtrain.succeeds("report", study)
    page = page_of(study / "report.html")
    figure = next(figure for figure in page.iter("figure") if "More data: accuracy on test" in words_of(figure))
    shapes = [shape.find("title").text for shape in figure.iter() if re.match("dot|cross", shape.get("class", ""))
              and shape.find("title") is not None]
    results = json.loads((study / "results.json").read_text())
    expected = [trial for trial in results["trials"] if trial["phase"] == "result" and not trial["failure"]]
    assert len(shapes) == len(expected) == 59
    for trial in expected:
        value = f"{100 * trial['metrics']['test']['accuracy']:.4g}"
        assert f"{trial['method']}, seed {trial['seed']}: {value}" in shapes
    crosses = [shape for shape in figure.iter("path") if shape.get("class") == "cross series-0"]
    assert len(crosses) == 2 and words_of(figure.find(".//desc")).count("(collapsed seed)") == 2
    seeds = {(row["method"], row["samples"]): row["seeds"] for row in table_of(page, "learning rate", "seeds")}
    assert seeds["full", "100"] == "5 of 5 (2 collapsed)" and seeds["lora", "1,000"] == "4 of 5 (1 failed)"
    assert list(seeds.values()).count("5 of 5") == 10


def test_what_is_called_shown_agrees_with_interval_and_p_value(dtrain, study):
    dtrain.succeeds("report", study)
    rows = table_of(page_of(study / "report.html"), "Holm's p", "no difference beyond")
    said = set()
    for row in rows:
        low, high = (float(end) for end in row["95 % interval"].split(" to "))
        if 0 in (low, high) or row["Holm's p"] == "0.050":
            continue  # rounded
        expected = "no" if low < 0 < high else "over all pairs" if float(row["Holm's p"].strip("< ")) < 0.05 else "this pair alone"
        assert row["shown"] == expected, row
        assert (row["no difference beyond"] == "-") == (expected != "no"), row
        said.add(expected)
    assert said >= {"no", "over all pairs"}


def test_what_was_not_measured_has_no_figure(dtrain, tmp_path):
    plan = study_plan(["full", "head"], [1000])
    trials = study_trials(plan, forgetting=False, curves=False)
    for trial in trials:
        trial["group"] = trial["started"] = 0
    dtrain.succeeds("report", write_study(tmp_path / "study", plan, trials))
    page = page_of(tmp_path / "study" / "report.html")
    titles = " | ".join(titles_of(page))
    for title in ("Forgetting", "Learning curves", "Runs that learned nothing", "The study as it ran", "More data"):
        assert title not in titles
    assert "None of the 6 runs of the result collapsed or failed." in words_of(page)
    assert "accuracy on test with 1,000 training examples" in titles


def test_differences_of_a_class_are_those_of_its_examples(dtrain, study):
    dtrain.succeeds("report", study)
    page = page_of(study / "report.html")
    journal = [json.loads(line) for line in (study / "journal.jsonl").read_text().splitlines()]
    labels = journal[0]["plan"]["sets"][0]["labels"]
    figure = next(figure for figure in page.iter("figure") if "Class by class" in words_of(figure))
    first, second = re.search(r"Class by class: (\S+) against (\S+),", words_of(figure)).groups()

    def right(method):
        bits = [trial["scores"]["test"]["hex"] for trial in journal[1:]
                if trial.get("phase") == "result" and trial["method"] == method and trial["samples"] == 10000]
        return [[int(bit) for digit in text for bit in f"{int(digit, 16):04b}"] for text in bits]

    shown = 0
    for label, name in enumerate(LABELS):
        members = [i for i, found in enumerate(labels) if found == label]
        found = re.search(rf"{re.escape(name)} \({len(members)}\): ([+-]?\d+\.\d)\.", words_of(figure.find(".//desc")))
        assert (found is not None) == (len(members) >= 10)
        if found:
            mean = [sum(seed[i] for seed in right(method) for i in members) / len(members) / 5 for method in (first, second)]
            assert float(found[1]) == pytest.approx(100 * (mean[0] - mean[1]), abs=0.051)
            shown += 1
    assert shown >= 5


def test_results_are_as_the_schema_says_and_the_table_has_a_line_a_trial(dtrain, study):
    dtrain.succeeds("report", study)
    results = json.loads((study / "results.json").read_text())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(results, SCHEMA, jsonschema.Draft202012Validator)
    assert "NaN" not in (study / "results.json").read_text()
    rows = csv_rows(study / "trials.csv")
    assert len(rows) == len(results["trials"]) == 96
    for row, trial in zip(rows, results["trials"], strict=True):
        for key in ("phase", "method"):
            assert row[key] == trial[key]
        assert (float(row["learning_rate"]), int(row["seed"])) == (trial["learning_rate"], trial["seed"])
        assert row["failure"] == (trial["failure"] or "")
        for name, values in trial["metrics"].items():
            for metric, value in values.items():
                assert float(row[f"{name}.{metric}"]) == value
        assert row["test.accuracy"] or trial["phase"] == "search" or trial["failure"]
    failed = [cell for cell in results["cells"] if cell["failed_seeds"]]
    assert [(cell["method"], cell["samples"]) for cell in failed] == [("lora", 1000)]


def test_a_broken_result_does_not_pass_the_schema(dtrain, study):
    dtrain.succeeds("report", study)
    results = json.loads((study / "results.json").read_text())
    for break_it in (lambda r: r["cells"][0].pop("search"), lambda r: r["plan"].update(margin="1"),
                     lambda r: r["trials"][0].update(phase="test"), lambda r: r["cells"][0]["cost"].update(more=1)):
        broken = json.loads(json.dumps(results))
        break_it(broken)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA, jsonschema.Draft202012Validator)


def test_a_report_made_twice_is_the_same_bytes(dtrain, study):
    dtrain.succeeds("report", study)
    dtrain.succeeds("report", study, "--output", "elsewhere", ranks=2)
    for name in ("results.json", "trials.csv", "report.md", "report.html"):
        assert (study / name).read_bytes() == (dtrain.folder / "elsewhere" / name).read_bytes()


def test_a_study_that_runs_has_a_partial_report(dtrain, study):
    lines = (study / "journal.jsonl").read_text().splitlines(keepends=True)
    for finished in (0, 3, 40):
        (study / "journal.jsonl").write_text("".join(lines[:1 + finished]) + lines[1 + finished][:50])
        ended = dtrain.succeeds("report", study)
        assert f"{finished} of 96 trials finished (partial results)" in ended.out, ended
        page = page_of(study / "report.html")
        assert f"Partial results: {finished} of 96 trials finished" in words_of(page)
        results = json.loads((study / "results.json").read_text())
        jsonschema.validate(results, SCHEMA, jsonschema.Draft202012Validator)
        assert results["progress"] == {"finished": finished, "planned": 96}
    assert "labelled examples" in answer_of(page)[0]


def test_a_damaged_journal_is_refused_with_file_and_line(dtrain, study):
    journal = study / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + '{"phase": "result"}\n' + "".join(lines[5:]))
    dtrain.refuses("report", study, code=3, says=["journal.jsonl:5", "not a line of a study's journal"])
    assert not (study / "report.html").exists()
    (study / "journal.jsonl").write_text("".join(lines))
    (study / "study.json").write_text('{"schema": 1}')
    dtrain.refuses("report", study, code=3, says="study.json")
    (study / "study.json").unlink()
    ended = dtrain.succeeds("report", study)
    assert "there is no study.json" in ended.err
    assert "not written down" in words_of(page_of(study / "report.html"))


@pytest.mark.parametrize("seed", range(4))
def test_a_journal_in_which_a_bit_has_flipped_is_refused_with_file_and_line(dtrain, study, seed):
    journal = study / "journal.jsonl"
    lines = [with_digest(line).encode() for line in journal.read_text().splitlines()]
    journal.write_bytes(b"\n".join(lines) + b"\n")
    dtrain.succeeds("report", study)
    chance = random.Random(seed)
    damaged = chance.randrange(len(lines) - 1)
    # A digit, which stays one.
    digits = [i for i, byte in enumerate(lines[damaged]) if byte in b"01234567"]
    lines[damaged] = flipped(lines[damaged], 8 * chance.choice(digits))
    journal.write_bytes(b"\n".join(lines) + b"\n")
    dtrain.refuses("report", study, code=3, says=[f"journal.jsonl:{damaged + 1}: not a line of a study's journal",
                                                  "expected one of digest"])


def test_what_users_name_cannot_break_out_of_the_page(dtrain, tmp_path):
    evil = '"><script>alert(1)</script>&<b>\'\x1b]0;x\x07'
    plan = study_plan(["full", "head"], [1000], task=evil, model=evil, sets=("test", f"ood.{evil}"))
    plan["identity"] = {evil: evil}
    setting = SETTING | {"labels": [evil] * len(LABELS), "notes": [evil], "machine": evil, "command": evil}
    dtrain.succeeds("report", write_study(tmp_path / "study", plan, study_trials(plan), setting))
    page = page_of(tmp_path / "study" / "report.html")
    assert "<script>alert(1)</script>" in words_of(page), "it is shown as text"
    assert {element.tag for element in page.iter()}.isdisjoint({"script"})


def test_several_studies_make_one_page_with_their_answers_on_top(dtrain, study, tmp_path):
    plan = study_plan(["full", "head"], [1000], task="reviews")
    other = write_study(tmp_path / "other", plan, study_trials(plan)[:5], None)
    dtrain.refuses("report", study, other, code=2, says=["--output", "several studies"])
    ended = dtrain.succeeds("report", study, other, "--output", "both.html")
    page = page_of(tmp_path / "both.html")
    rows = [[words_of(cell) for cell in row] for row in page.find(".//table").iter("tr")]
    assert [row[3] for row in rows[1:4]] == ["100", "1,000", "10,000"]
    assert "partial: 5 of 12 trials finished" in rows[4][0] and rows[4][2] == "reviews"
    assert len([heading for heading in page.iter("h2")]) == 2
    dtrain.refuses("report", study, other, "--output", "both.html", code=2, says="--overwrite")
    dtrain.succeeds("report", study, other, "--output", "both.html", "--overwrite")
    assert "written: both.html" in ended.out


def test_it_writes_only_where_it_may(dtrain, study, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    dtrain.refuses("report", study, "--output", "full", code=2, says=["not empty", "--overwrite"])
    dtrain.succeeds("report", study, "--output", "full", "--overwrite")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"
    dtrain.refuses("report", code=2, says="expected the output directory of a study")
    dtrain.refuses("report", tmp_path / "full", code=3, says=["full", "no journal.jsonl"])
    (tmp_path / "file").write_text("")
    dtrain.refuses("report", study, "--output", "file", code=2, says="expected a directory, or a file that ends in .html")


def diagnosis(title="frozen body with a head, pooler, learning rate 5e-5"):
    """What `dtrain diagnose` writes of a model of two layers: the head as asked has 40 % right, full fine-tuning 60 %."""
    def share(value):
        return {"value": value, "low": value - 0.02, "high": value + 0.02}

    rows = [{"kind": kind, "title": title if kind == "asked" else kind, "method": method, "pooling": "mean", "layer": layer,
             "learning_rate": rate, "rate_from": "search" if rate else "", "trainable_parameters": 99, "seconds": 1.5,
             "failure": None, "dev_log_loss": 1.0, "test_accuracy": share(right), "to_full": share(right - 0.6)}
            for kind, method, layer, rate, right in [
                ("asked", "head", None, 5e-5, 0.4), ("rate", "head", None, 0.01, 0.45), ("optimum", "probe", 2, None, 0.46),
                ("best_probe", "probe", 1, None, 0.5), ("full", "full", None, 5e-4, 0.6), ("method", "lora", None, 5e-3, 0.58)]]
    probes = [{"layer": layer, "pooling": pooling, "l2": 0.1, "at_edge": False, "gradient": 1e-7, "evaluations": 9,
               "train_log_loss": 1.0, "dev_log_loss": 2.0 - layer, "dev_accuracy": 0.5, "test_accuracy": share(0.3 + 0.1 * layer)}
              for layer in range(3) for pooling in ("cls", "mean")]
    steps = [{"choice": choice, "gain": share(gain)} for choice, gain in [
        ("learning_rate", 0.05), ("training", 0.01), ("layer", 0.04), ("linear_head", 0.1)]]
    return {"schema": 1, "model": "tiny", "task": "toy", "machine": "", "classes": 11, "samples": 1000, "dev_examples": 500,
            "test_examples": 600, "majority_share": 0.3, "seeds": 1, "layers": 2, "gap": share(0.2), "left_out": ["bitfit"],
            "notes": [], "words": [], "probes": probes, "rows": rows, "steps": steps}


def test_a_diagnosis_beside_the_study_is_part_of_the_page(dtrain, study):
    dtrain.succeeds("report", study)
    without = (study / "report.html").read_bytes()
    (study / "diagnose.json").write_text(json.dumps(diagnosis(title="<script>alert(14)</script>")))
    (study / "diagnose.svg").write_text("<svg><script>alert(1)</script></svg>")
    dtrain.succeeds("report", study)
    page = page_of(study / "report.html")
    assert "a gap of 20.0 points (18.0 to 22.0)" in words_of(page).replace("\u00a0", " ")
    assert {"Which choice costs what.", "What each layer knows."} <= {title.split(". ", 1)[1] for title in titles_of(page)}
    rows = table_of(page, "setting", "to full, points")
    assert [row["setting"] for row in rows][:2] == ["<script>alert(14)</script>", "rate"] and len(rows) == 6
    assert rows[4]["learning rate"] == "0.0005 (searched)" and rows[5]["test accuracy %"] == "58.0 (56.0 to 60.0)"
    steps = next(figure for figure in page.iter("figure") if "Which choice costs what" in words_of(figure))
    assert "as asked: 40.0. learning rate 0.01: +5.0 (3.0 to 7.0)." in words_of(steps.find(".//desc"))
    assert "lora: 58.0 (-2.0 to full)." in words_of(steps.find(".//desc"))
    assert [row["layer"] for row in table_of(page, "layer", "cls")] == ["0 (embeddings)", "1", "2"]

    (study / "diagnose.json").write_text('{"words": ["The pooler costs 14 points."]}')
    ended = dtrain.succeeds("report", study)
    assert "diagnose.json: not what dtrain diagnose writes" in ended.err and "goes without it" in ended.err
    assert (study / "report.html").read_bytes() == without


def test_a_page_of_many_methods_stays_small(dtrain, whole):
    assert len(METHODS) == 4
    dtrain.succeeds("report", whole)
    assert os.path.getsize(whole / "report.html") < 200_000
