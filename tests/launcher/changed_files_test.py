"""Files that somebody changes while a run reads them, when it has read them, or before it goes on."""

import os
import shutil
import signal

import pytest

from conftest import leftovers, results, rows, wait_for, write_tsv
from outcomes import difference, what_was_trained

RUN = ["train", "--model", "model", "--max-length", "32", "--train", "train.tsv", "--dev", "dev.tsv", "--test", "test.tsv",
       "--method", "full", "--batch-size", "8", "--max-steps", "40", "--log-steps", "1", "--virtual-ranks", "2", "--output", "out"]
DATA = ("train.tsv", "dev.tsv", "test.tsv")


@pytest.fixture
def folder(tiny_model, data, tmp_path):
    """Where the model and the data are the run's own."""
    copy_files(tiny_model, data, tmp_path)
    return tmp_path


def copy_files(tiny_model, data, to):
    shutil.copytree(tiny_model, to / "model")
    for name in DATA:
        shutil.copy(data / name, to / name)


def held_at(dtrain, folder, call, path, count, ranks):
    """A run whose first rank is held at its `count`-th `call` of a file; the file that lets it go on."""
    moment = folder / "moment"
    process = dtrain.start(*RUN, ranks=ranks, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_HOLD"], "XDG_CACHE_HOME": str(folder / "cache"), "TEST_HOLD": str(moment),
        "TEST_HOLD_RANK": "" if ranks is None else "0", "TEST_HOLD_CALL": call, "TEST_HOLD_PATH": path,
        "TEST_HOLD_COUNT": str(count)})
    wait_for(lambda: process.poll() is not None or moment.with_suffix(".reached").exists(), what="the moment")
    assert process.poll() is None, dtrain.end(process)
    return process, moment.with_suffix(".open")


def write_other_rows(path):
    """In place of the file, as an editor saves."""
    write_tsv(path.with_suffix(".new"), rows(60, 9))
    path.with_suffix(".new").rename(path)


def change_weights(model):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    changed = {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in tensors.items()}
    save_file(changed, model / "new.safetensors", {"format": "pt"})
    (model / "new.safetensors").rename(model / "model.safetensors")


def change_tokenizer(model):
    """Two words change places, in both files that have them."""
    for name, cat, dog in (("vocab.txt", "\ncat\n", "\ndog\n"), ("tokenizer.json", '"cat"', '"dog"')):
        text = (model / name).read_text()
        assert cat in text and dog in text
        (model / name).unlink()
        (model / name).write_text(text.replace(cat, "\0").replace(dog, cat).replace("\0", dog))


def change_configuration(model):
    text = (model / "config.json").read_text()
    assert '"hidden_dropout_prob": 0.1' in text
    (model / "config.json").write_text(text.replace('"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.2'))


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("name", ["train", "dev"])
def test_data_that_is_replaced_while_it_is_read_is_refused(dtrain, folder, name, ranks):
    # It has been digested, and is about to be read.
    process, go_on = held_at(dtrain, folder, "open", f"{name}.tsv", 2, ranks)
    write_other_rows(folder / f"{name}.tsv")
    go_on.touch()
    ended = dtrain.end(process, timeout=30)
    assert ended.code == 3 and f"dtrain: error: changed while it was read: {name} data." in ended.err, ended
    assert not (folder / "out").exists(), ended
    dtrain.succeeds(*RUN)


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_model_that_is_cut_while_it_is_read_ends_the_job_and_is_named(dtrain, folder, ranks):
    # Its weights are mapped, its config.json is about to be read again.
    process, go_on = held_at(dtrain, folder, "open", "model/config.json", 2, ranks)
    os.truncate(folder / "model" / "model.safetensors", 10_000)
    go_on.touch()
    ended = dtrain.end(process, timeout=30)
    assert ended.code == 3 and ended.err.count("dtrain: error:") == 1, ended
    assert "somebody cut a file while it was read: " in ended.err and "model/model.safetensors" in ended.err, ended


@pytest.mark.parametrize("ranks", [None, 2])
def test_what_has_been_read_may_change(dtrain, tiny_model, data, folder, ranks):
    alone = folder / "alone"
    alone.mkdir()
    copy_files(tiny_model, data, alone)
    dtrain.succeeds(*RUN, cwd=alone, ranks=ranks)
    process, go_on = held_at(dtrain, folder, "write", "*/log.jsonl", 3, ranks)
    for name in DATA:
        write_other_rows(folder / name)
    change_weights(folder / "model")
    change_tokenizer(folder / "model")
    change_configuration(folder / "model")
    go_on.touch()
    ended = dtrain.end(process)
    assert ended.code == 0, ended
    assert not difference(what_was_trained(folder / "out"), what_was_trained(alone / "out")), ended


@pytest.fixture
def stopped(dtrain, folder):
    """A run that was stopped after some steps."""
    process, go_on = held_at(dtrain, folder, "write", "*/log.jsonl", 3, None)
    process.send_signal(signal.SIGTERM)
    go_on.touch()
    ended = dtrain.end(process)
    assert ended.code == 75 and "the checkpoint is written" in ended.err, ended
    return folder


def change_training_data(model):
    write_other_rows(model.parent / "train.tsv")


def change_dev_data(model):
    write_other_rows(model.parent / "dev.tsv")


@pytest.mark.parametrize("change, says", [
    (change_training_data, "training data was"), (change_dev_data, "dev data was"),
    (change_weights, "weights of the model at the start was"), (change_tokenizer, "training data was"),
    (change_configuration, "configuration of the model was")])
def test_what_decides_the_numbers_and_has_changed_is_refused_when_a_run_goes_on(dtrain, stopped, change, says):
    before = {path: path.read_bytes() for path in (stopped / "out").rglob("*") if path.is_file()}
    change(stopped / "model")
    dtrain.refuses(*RUN, "--resume", code=2, says=["cannot resume from out/checkpoint/step-", says, "--overwrite"])
    assert {path: path.read_bytes() for path in (stopped / "out").rglob("*") if path.is_file()} == before


def test_other_test_data_are_scored_and_kept_in_mind(dtrain, stopped):
    write_other_rows(stopped / "test.tsv")
    dtrain.succeeds(*RUN, "--resume")
    assert results(stopped / "out")["metrics"]["test"]["examples"] == 60
    assert leftovers(stopped / "out") == []
    write_tsv(stopped / "test.tsv", rows(30, 10))
    dtrain.refuses(*RUN, "--resume", code=2, says=["the run in out is finished", "its test data were others"])
