"""bench/compare_with_peer.py on a tiny BERT: both sides do the same work, trained and forward alone, and the table says it."""

import argparse
import os
import pathlib
import sys
from dataclasses import replace

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import compare_with_peer as comparison  # noqa: E402
from long_texts import write_long_texts  # noqa: E402
from sides import Setting, embedded_task, model_directory, run_peer  # noqa: E402

BUILD = pathlib.Path(os.environ["DTRAIN_TEST_PROGRAM"]).parent
LENGTH = 24
SAMPLES = 64


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """Texts of one length for a BERT of two layers."""
    import transformers

    folder = tmp_path_factory.mktemp("comparison")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory(BUILD, None))
    tokenizer.save_pretrained(folder / "model")
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    transformers.BertModel(config).save_pretrained(folder / "model")
    write_long_texts(embedded_task(BUILD) / "train.tsv", folder, LENGTH, SAMPLES)
    return Setting("lora", "fp32", 1, SAMPLES, None, epochs=2, model=folder / "model", length=LENGTH, texts=folder)


@pytest.fixture(scope="module")
def trained(setting):
    return comparison.measure(BUILD, setting, 1, "tiny")


@pytest.fixture(scope="module")
def scored(setting):
    return comparison.measure(BUILD, replace(setting, method="forward"), 1, "tiny")


def test_training_starts_from_the_same_loss(trained):
    run = trained["runs"][0]
    steps = 2 * SAMPLES // 32
    assert len(run["dtrain"]["losses"]) == len(run["peer"]["losses"]) == steps
    assert run["dtrain"]["losses"][0] == pytest.approx(run["peer"]["losses"][0], rel=0.05)


@pytest.mark.parametrize("kind, passes", [("trained", 4), ("scored", 2)])
def test_a_cell_has_both_speeds_and_their_ratio(kind, passes, request):
    cell = request.getfixturevalue(kind)
    assert cell["length"] == LENGTH
    speeds = [cell[side]["median"] for side in ("dtrain", "peer")]
    assert min(speeds) > 0 and cell["ratio"]["median"] == pytest.approx(speeds[0] / speeds[1])
    assert min(cell["dtrain_peak_memory_bytes"], cell["peer_peak_memory_bytes"]) > 0
    parameters = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert cell["dtrain_gflops"] == pytest.approx(passes * parameters * speeds[0] * LENGTH / 1e9)


def test_the_peer_scores_the_rows_alone(setting):
    found = run_peer(BUILD, replace(setting, method="forward"))
    assert found["forward"] and found["tokens_per_sample"] == LENGTH and found["samples_per_second"] > 0
    assert "losses" not in found and found["package"] == "transformers"


def test_the_tables_have_a_row_a_cell_and_a_curve_a_training(trained, scored):
    cells = [trained, scored]
    rows = comparison.table(cells, {("tiny", "fp32"): 100.0}).splitlines()[2:]
    assert [row.split(" | ")[2] for row in rows] == ["lora", "forward"]
    curves = comparison.learning_curves(comparison.whole_trainings(cells)).splitlines()
    assert len(curves) == 3 and "peer, epoch 2" in curves[0] and "lora" in curves[2]
    assert comparison.whole_trainings([scored, trained | {"ranks": 2}]) == []


def test_long_texts_are_cut_to_their_length_and_of_one_class_each(setting):
    rows = (setting.texts / "train.tsv").read_text().splitlines()
    assert rows[0] == "label\tsentence1\tsentence2" and len(rows) == 1 + SAMPLES
    assert all(len(row.split("\t")[2].split()) >= LENGTH for row in rows[1:])
    dev = (setting.texts / "dev.tsv").read_text().splitlines()[1:]
    assert len(dev) == 2 and {row.split("\t")[0] for row in dev} <= {row.split("\t")[0] for row in rows[1:]}


@pytest.mark.parametrize("method, length, encoder, samples", [
    ("full", 0, "minilm", 768), ("full", 512, "minilm", 128), ("forward", 0, "minilm", 1024),
    ("forward", 512, "bert-base", 32), ("lora", 17, "bert-base", 128)])
def test_cells_take_about_as_long(method, length, encoder, samples):
    options = argparse.Namespace(samples=None)
    assert comparison.samples_of(options, method, "fp32", length or None, encoder) == samples
