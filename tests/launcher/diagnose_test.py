"""dtrain diagnose: why a frozen body is worse."""

import json
import xml.etree.ElementTree

import pytest

from conftest import write_tsv

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
    assert title.text.startswith("Test accuracy of linear probes by layer.")
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


@pytest.mark.parametrize("arguments, says", [
    (["--samples", "20,40"], "--samples: diagnose takes one number"),
    (["--samples", "500"], "500"),
    (["--methods", "full"], "full is in every diagnosis"),
    (["--methods", "layers:k=3..1"], "expected a range"),
    (["--methods", "layers:k=3"], "layers"),
    (["--lr", "0"], "--lr: expected a number above 0"),
    (["--ood", "a=b"], "dtrain diagnose has no option 'ood'"),
])
def test_refuses_what_cannot_be(dtrain, task, arguments, says):
    dtrain.refuses("diagnose", *task, *SHORT[:4], *arguments, code=2, says=says)


def test_refuses_numbers(dtrain, tiny_model, tmp_path):
    file = write_tsv(tmp_path / "numbers.tsv", [(str(i / 7), f"text {i}") for i in range(40)], header=None)
    dtrain.refuses("diagnose", "--model", tiny_model, "--max-length", "32", "--train", file, "--test", file,
                   "--problem-type", "regression", code=2, says="expected a task of classes")
