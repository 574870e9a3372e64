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
    assert cell["length"] == pytest.approx(LENGTH)
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
    rows = [row.split(" | ") for row in comparison.table(cells).splitlines()[2:]]
    assert [row[2] for row in rows] == ["lora", "forward"] and [row[8] for row in rows] == ["eager fp32"] * 2
    for row, cell in zip(rows, cells, strict=True):
        assert row[11].endswith(f"({cell['dtrain_gflops'] / cell['dtrain_matmul_gflops']:.0%})")
    curves = comparison.learning_curves(comparison.whole_trainings(cells)).splitlines()
    assert len(curves) == 3 and "peer, epoch 2" in curves[0] and "lora" in curves[2]
    assert comparison.whole_trainings([scored, trained | {"ranks": 2}]) == []


@pytest.fixture
def stand_ins(monkeypatch):
    """Both sides' runs, and the rates, without a run: the peer's samples/s, or what fails, by its way."""
    rates = {}

    def run_peer(build, setting):
        found = rates[comparison.way_of(setting)]
        peer = {"trainable_parameters": 1, "peak_memory_bytes": 1, "losses": [1.0, 1.0], "versions": {}}
        return {"failure": found} if isinstance(found, str) else peer | {"samples_per_second": found.pop(0)}

    dtrain = {"learning_rate": 0.1, "losses": [1.0, 1.0],
              "cost": {"samples_per_second": 30.0, "tokens_per_second": 300.0, "trainable_parameters": 1,
                       "peak_memory_bytes": 1}}
    monkeypatch.setattr(comparison, "run_dtrain", lambda build, setting: dtrain)
    monkeypatch.setattr(comparison, "run_peer", run_peer)
    monkeypatch.setattr(comparison, "matmul_rate", lambda build, setting, length: {"fp32": 1.0, "bf16": 2.0}[setting.precision])
    return rates


def peers_of(setting):
    return [replace(setting, precision=precision, compiled=compiled) for compiled in (False, True)
            for precision in ("fp32", "bf16")]


def test_the_ratio_is_against_the_peers_fastest_way(setting, stand_ins):
    stand_ins.update({"eager fp32": [10, 10, 10], "eager bf16": [5, 5, 100], "compile fp32": "TypeError: no",
                      "compile bf16": [20, 12, 14]})
    cell = comparison.measure(BUILD, setting, 3, "tiny", peers_of(setting))
    assert cell["peer_way"] == "compile bf16" and cell["peer_failures"] == {"compile fp32": "TypeError: no"}
    assert [run["ratio"] for run in cell["runs"]] == [30 / 20, 30 / 12, 30 / 14]
    assert cell["ratio"]["median"] == 30 / 14 and cell["length"] == 10
    assert (cell["dtrain_matmul_gflops"], cell["peer_matmul_gflops"]) == (1.0, 2.0)
    assert set(cell["runs"][2]["peers"]) == {"eager fp32", "eager bf16", "compile bf16"}
    row = comparison.table([cell]).splitlines()[2].split(" | ")
    assert row[4] == "fp32" and row[8] == "compile bf16" and row[9] == "2.14 (1.50 to 2.50)"


def test_a_peer_that_fails_in_every_way_is_a_dash(setting, stand_ins):
    stand_ins.update({"compile fp32": "TypeError: no"})
    cell = comparison.measure(BUILD, setting, 2, "tiny", [replace(setting, compiled=True)])
    assert cell["peer_way"] is None and cell["ratio"] is None and cell["dtrain"]["median"] == 30
    row = comparison.table([cell]).splitlines()[2].strip("| ").split(" | ")
    assert row[6:10] == ["30", "-", "-", "-"] and row[12] == "-" and row[13].endswith(", -")
    assert comparison.whole_trainings([cell]) == []


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
