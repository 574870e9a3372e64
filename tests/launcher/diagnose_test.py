"""dtrain diagnose: why a frozen body is worse."""

import json
import time
import xml.etree.ElementTree

import pytest

from conftest import wait_for, write_tsv

SHORT = ["--max-steps", "12", "--batch-size", "8", "--methods", "layers:k=1,lora:r=2"]


def diagnosed(folder):
    return json.loads((folder / "diagnose.json").read_text())


def without_costs(diagnosis):
    del diagnosis["machine"]
    for row in diagnosis["rows"]:
        del row["seconds"]
    return diagnosis


def test_is_the_same_on_one_and_two_ranks(dtrain, task):
    arguments = ["diagnose", *task, *SHORT, "--virtual-ranks", "2"]
    dtrain.succeeds(*arguments, "--output", "one")
    dtrain.succeeds(*arguments, "--output", "two", ranks=2)
    one, two = (without_costs(diagnosed(dtrain.folder / name)) for name in ("one", "two"))
    assert one == two
    assert len(one["probes"]) == 3 * 3


def test_says_what_costs_what_and_writes_it(dtrain, task):
    ended = dtrain.succeeds("diagnose", *task, *SHORT)
    folder = dtrain.folder / "dtrain-diagnose"
    diagnosis = diagnosed(folder)
    assert [row["kind"] for row in diagnosis["rows"]] == [
        "asked", "rate", "optimum", "best_probe", "full", "method", "method"]
    assert diagnosis["rows"][0]["learning_rate"] == 5e-5
    assert diagnosis["rows"][0]["pooling"] == "pooler"
    assert abs(sum(step["gain"]["value"] for step in diagnosis["steps"]) - diagnosis["gap"]["value"]) < 1e-9
    assert (diagnosis["samples"], diagnosis["test_examples"]) == (120, 45)
    for sentence in diagnosis["words"]:
        assert sentence in ended.out
    assert "0 (embeddings)" in ended.out
    title = xml.etree.ElementTree.parse(folder / "diagnose.svg").getroot().find("{http://www.w3.org/2000/svg}title")
    assert title.text == "Test accuracy of linear probes by layer"
    # config.ini gives the same again; what is there is not written over.
    again = dtrain.succeeds("diagnose", "--config", folder / "config.ini")
    assert "dtrain-diagnose holds an earlier one" in again.out
    assert without_costs(diagnosed(dtrain.folder / "dtrain-diagnose-2")) == without_costs(diagnosis)


def test_takes_another_pooling_rate_and_seeds(dtrain, task):
    dtrain.succeeds("diagnose", *task, "--max-steps", "8", "--methods", "bitfit", "--pooling", "mean", "--lr", "1e-3",
                    "--lrs", "1e-3,1e-2", "--seeds", "2", "--samples", "60", "--output", "out")
    diagnosis = diagnosed(dtrain.folder / "out")
    assert [row["kind"] for row in diagnosis["rows"]] == [
        "asked", "rate", "optimum", "pooling", "best_probe", "head", "full", "method"]
    assert diagnosis["rows"][0]["learning_rate"] == 1e-3
    assert diagnosis["rows"][6]["learning_rate"] in (1e-3, 1e-2)
    assert (diagnosis["seeds"], diagnosis["samples"]) == (2, 60)
    assert [row["pooling"] for row in diagnosis["rows"]] == ["pooler"] * 3 + ["mean", diagnosis["rows"][4]["pooling"],
                                                                             "mean", "mean", "mean"]


def test_tries_and_searches_what_there_is_time_for(dtrain, task):
    few = ["--max-steps", "4", "--batch-size", "8", "--samples", "40"]
    ended = dtrain.succeeds("diagnose", *task, *few, "--budget", "0.01s", "--output", "short")
    short = diagnosed(dtrain.folder / "short")
    methods = [row["method"] for row in short["rows"] if row["kind"] in ("full", "method")]
    assert methods == ["full", "layers:k=1", "lora"] and short["left_out"] == ["layers:k=2", "bitfit", "pfeiffer"]
    assert {row["rate_from"] for row in short["rows"] if row["kind"] in ("full", "method")} == {"default"}
    assert "to train: full, layers:k=1 and lora; at most about" in ended.out
    assert "Not tried for want of time: layers:k=2, bitfit and pfeiffer" in ended.out
    ended = dtrain.succeeds("diagnose", *task, *few, "--budget", "none", "--output", "long")
    long = diagnosed(dtrain.folder / "long")
    methods = [row["method"] for row in long["rows"] if row["kind"] in ("full", "method")]
    assert methods == ["full", "layers:k=1", "layers:k=2", "lora", "bitfit", "pfeiffer"] and long["left_out"] == []
    assert {row["rate_from"] for row in long["rows"] if row["kind"] in ("full", "method")} == {"search"}
    assert "the search for the learning rates of bitfit, full, layers:k=1, layers:k=2, lora and pfeiffer included" in ended.out


STUDY = ["--max-steps", "4", "--batch-size", "8"]


@pytest.fixture
def study(dtrain, task):
    """A study at 60 examples of full fine-tuning and a head, each at one learning rate."""
    dtrain.succeeds("compare", *task, *STUDY, "--methods", "full,head", "--lrs", "2e-3", "--samples", "60", "--seeds", "2",
                    "--output", "study")
    return dtrain.folder / "study"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if path.is_file() and path.name not in ("diagnose.json", "diagnose.svg", "dtrain.lock")}


def test_is_added_to_a_study_of_which_it_takes_the_rates(dtrain, task, study):
    before = files_of(study)
    ended = dtrain.succeeds("diagnose", *task, *STUDY, "--methods", "bitfit", "--output", study, ranks=2)
    assert f"dtrain report {study} shows them" in ended.out
    assert files_of(study) == before
    found = diagnosed(study)
    rates = {row["method"]: (row["rate_from"], row["learning_rate"]) for row in found["rows"] if row["kind"] in ("full", "method")}
    assert rates["full"] == ("study", 2e-3) and rates["bitfit"][0] == "search" and found["samples"] == 60
    dtrain.succeeds("report", study)
    page = (study / "report.html").read_text()
    assert "Why a frozen body is worse" in page and "0.002 (the study&#39;s)" in page

    # Once; then in its own place alone.
    before = files_of(study)
    again = ["diagnose", *task, *STUDY, "--methods", "norm", "--output", study]
    dtrain.refuses(*again, code=2, says=["the study has a diagnosis already (diagnose.json)", "--overwrite"])
    assert diagnosed(study) == found
    dtrain.succeeds(*again, "--overwrite")
    assert files_of(study) == before and diagnosed(study)["rows"][-1]["method"] == "norm"
    assert "nothing is left to run" in dtrain.succeeds("compare", "--config", study / "config.ini", "--resume").out


def test_takes_no_rate_of_a_study_that_trains_otherwise(dtrain, task, study):
    ended = dtrain.succeeds("diagnose", *task, "--max-steps", "5", "--batch-size", "8", "--methods", "bitfit", "--output", study)
    assert "steps is 4 there and 5 here" in ended.err
    found = diagnosed(study)
    assert {row["rate_from"] for row in found["rows"] if row["kind"] == "full"} == {"search"}
    assert any("steps is 4 there and 5 here" in note for note in found["notes"])


def test_is_not_added_to_a_study_of_other_data(dtrain, task, data, study):
    before = files_of(study)
    other = [data / "dev.tsv" if argument == data / "test.tsv" else argument for argument in task]
    dtrain.refuses("diagnose", *other, *STUDY, "--output", study, code=2,
                   says=["expected a study of this model and task", "test data is", "config.ini"])
    dtrain.refuses("diagnose", *task, *STUDY, "--pooling", "cls", "--output", study, code=2,
                   says="pooling is auto there and cls here")
    assert files_of(study) == before and not (study / "diagnose.json").exists()


def test_leaves_nothing_in_a_study_where_it_is_killed(dtrain, task, study):
    before = files_of(study)
    process = dtrain.start("diagnose", *task, "--max-steps", "100000", "--batch-size", "8", "--methods", "bitfit", "--output", study)
    wait_for(lambda: (study / "dtrain.lock").exists(), what="the lock of the study")
    time.sleep(2)
    process.kill()
    dtrain.end(process)
    assert files_of(study) == before and not (study / "diagnose.json").exists()
    dtrain.succeeds("diagnose", *task, *STUDY, "--methods", "bitfit", "--output", study)
    assert files_of(study) == before and diagnosed(study)["samples"] == 60


@pytest.mark.parametrize("arguments, says", [
    (["--samples", "20,40"], "--samples: diagnose takes one number"),
    (["--samples", "500"], "500"),
    (["--methods", "full"], "full is in every diagnosis"),
    (["--methods", "layers:k=3..1"], "expected a range"),
    (["--methods", "layers:k=3"], "layers"),
    (["--budget", "5"], "--budget: expected a time above 0"),
    (["--lr", "0"], "--lr: expected a number above 0"),
    (["--ood", "a=b"], "dtrain diagnose has no option 'ood'"),
])
def test_refuses_what_cannot_be(dtrain, task, arguments, says):
    dtrain.refuses("diagnose", *task, *SHORT[:4], *arguments, code=2, says=says)


def test_refuses_numbers(dtrain, tiny_model, tmp_path):
    file = write_tsv(tmp_path / "numbers.tsv", [(str(i / 7), f"text {i}") for i in range(40)], header=None)
    dtrain.refuses("diagnose", "--model", tiny_model, "--max-length", "32", "--train", file, "--test", file,
                   "--problem-type", "regression", code=2, says="expected a task of classes")
