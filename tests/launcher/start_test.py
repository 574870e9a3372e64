"""Training that starts from what an earlier run, or somebody else's, has trained."""

import json
import shutil
import signal

import pytest

from conftest import log_lines, results, wait_for, write_tsv

METHODS = ["lora", "adalora:tinit=0:tfinal=0", "prefix:num_virtual_tokens=4", "houlsby", "bitfit", "full"]


def train(dtrain, task, method, output, *more):
    dtrain.succeeds("train", *task, "--method", method, "--lr", "5e-3", "--max-steps", "40", "--output", output, *more)


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_on_where_the_earlier_run_ended(dtrain, task, tmp_path, method):
    train(dtrain, task, method, "first")
    # A step that changes nothing shows what it starts from.
    ended = dtrain.succeeds("train", *task, "--run", "first", "--lr", "1e-12", "--max-steps", "1", "--output", "second")
    name = method.split(":")[0]
    assert f"start: first, goes on as {name}" in ended.out, ended
    first, second = results(tmp_path / "first"), results(tmp_path / "second")
    assert second["method"].split(":")[0] == name and second["start"] == "first"
    assert second["metrics"]["test"]["log_loss"] == pytest.approx(first["metrics"]["test"]["log_loss"], abs=1e-6)
    # AdaLoRA goes on with the rows that it has left.
    counts = [run["cost"]["trainable_parameters"] for run in (first, second)]
    assert counts[1] <= counts[0] if name == "adalora" else counts[1] == counts[0]
    assert second["cost"]["stored_bytes"] == pytest.approx(first["cost"]["stored_bytes"], abs=1000)  # of settings, spelt out
    # And what it writes is as whole as what the first wrote.
    dtrain.succeeds("train", *task, "--run", "second", "--lr", "1e-12", "--max-steps", "1", "--output", "third")
    third = results(tmp_path / "third")
    assert third["metrics"]["test"]["log_loss"] == pytest.approx(first["metrics"]["test"]["log_loss"], abs=1e-6)


def test_it_starts_from_an_adapter_that_peft_wrote(dtrain, task, tiny_model, tmp_path):
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3)
    get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=4)).save_pretrained(tmp_path / "theirs")
    description = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    assert description["base_model_name_or_path"] == str(tiny_model)
    ended = dtrain.succeeds("train", *task, "--run", "theirs", "--lr", "1e-2", "--max-steps", "150", "--output", "ours")
    assert "taken for those of the training data, in this order: animal, plant, tool" in ended.err, ended
    found = results(tmp_path / "ours")
    assert "r=4" in found["method"] and set(found["metrics"]["test"]["classes"]) == {"animal", "plant", "tool"}
    losses = [line["loss"] for line in log_lines(tmp_path / "ours")]
    assert losses[-1] < losses[0]


def test_it_is_resumed_like_any_other_run(dtrain, task, tmp_path):
    train(dtrain, task, "lora", "first")
    onward = [*task, "--run", "first", "--lr", "5e-3", "--max-steps", "60", "--batch-size", "8", "--save-steps", "7"]
    dtrain.succeeds("train", *onward, "--output", "alone")
    stopped = dtrain.start("train", *onward, "--output", "stopped")
    checkpoints = tmp_path / "stopped" / "checkpoint"
    wait_for(lambda: stopped.poll() is not None or any(checkpoints.glob("step-*[0-9]")), what="a checkpoint")
    stopped.kill()
    assert dtrain.end(stopped).code == -signal.SIGKILL
    ended = dtrain.succeeds("train", *onward, "--output", "stopped", "--resume")
    assert "resumed at step" in ended.out, ended
    weights = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("alone", "stopped")]
    assert weights[0] == weights[1]


def test_an_adapter_keeps_its_own_tokenizer(dtrain, task, data, tiny_model, tmp_path):
    train(dtrain, task, "lora", "first")
    # The same tokens under other numbers, from the first whole word on.
    tokens = (tiny_model / "vocab.txt").read_text().splitlines()
    own = "\n".join(tokens[:2000] + tokens[:1999:-1]) + "\n"
    (tmp_path / "first" / "adapter" / "vocab.txt").write_text(own)

    def log_loss(run):
        dtrain.succeeds("evaluate", "--run", run, "--input", data / "test.tsv", "--max-length", "32", "--output", "scored",
                        "--overwrite")
        return results(tmp_path / "scored")["metrics"]["test"]["log_loss"]

    dtrain.succeeds("train", *task, "--run", "first/adapter", "--lr", "1e-12", "--max-steps", "1", "--output", "second")
    assert (tmp_path / "second" / "adapter" / "vocab.txt").read_text() == own
    started = results(tmp_path / "second")["metrics"]["test"]["log_loss"]
    for run in ("first/adapter", "second"):
        assert log_loss(run) == pytest.approx(started, abs=1e-6), run
    dtrain.succeeds("merge", "--run", "first", "--output", "merged")
    assert (tmp_path / "merged" / "model" / "vocab.txt").read_text() == own
    dtrain.succeeds("merge", "--adapters", "first,second", "--output", "both")
    assert (tmp_path / "both" / "adapter" / "vocab.txt").read_text() == own
    (tmp_path / "second" / "adapter" / "vocab.txt").unlink()
    dtrain.refuses("merge", "--adapters", "first,second", "--output", "neither", code=2, says="their tokenizers differ")
    assert started != pytest.approx(results(tmp_path / "first")["metrics"]["test"]["log_loss"], abs=1e-5)


def test_an_adapter_of_torch_save_is_as_good(dtrain, task, data, tmp_path):
    import torch
    from safetensors.torch import load_file

    train(dtrain, task, "lora", "first")
    adapter = tmp_path / "first" / "adapter"
    tensors = load_file(adapter / "adapter_model.safetensors")
    torch.save(tensors, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    dtrain.succeeds("evaluate", "--run", "first", "--input", data / "test.tsv", "--max-length", "32", "--output", "scored")
    losses = [results(tmp_path / name)["metrics"]["test"]["log_loss"] for name in ("first", "scored")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert f"adapter_model.bin: {len(tensors)} tensors" in dtrain.succeeds("inspect", "first").out


def test_another_base_model_than_the_adapter_names_is_said(dtrain, task, data, tiny_model, tmp_path):
    train(dtrain, task, "lora", "first")
    scoring = ["evaluate", "--run", "first", "--input", data / "test.tsv", "--max-length", "32", "--model"]
    (tmp_path / "elsewhere").mkdir()
    for name, warned in ((f"elsewhere/{tiny_model.name}", False), ("another", True)):
        shutil.copytree(tiny_model, tmp_path / name)
        ended = dtrain.succeeds(*scoring, name)
        assert (f"the adapter names {tiny_model} as its base model, and is used with {name}" in ended.err) == warned, ended


def test_what_does_not_fit_is_refused(dtrain, task, data, tiny_model, tmp_path):
    train(dtrain, task, "lora", "first")
    dtrain.refuses("train", *task, "--run", "first", "--method", "head", code=2, says=["--run and --method", "found both"])
    dtrain.refuses("train", *task, env={"DTRAIN_RUN": "first", "DTRAIN_METHOD": "head"}, code=2, says="found both")
    dtrain.refuses("train", *task, "--run", "first/adapter", "--output", "first", "--overwrite", code=2,
                   says=["--overwrite", "holds what --run starts from"])
    dtrain.refuses("train", *task, "--run", "nowhere", code=3, says="nowhere")
    other = write_tsv(tmp_path / "other.tsv", [("animal", "the cat"), ("stone", "the granite")] * 8)
    dtrain.refuses("train", "--model", tiny_model, "--max-length", "32", "--train", other, "--run", "first", code=3,
                   says=["other.tsv:3", "'stone' is none of the 3 classes"])
    dtrain.refuses("compare", *task, "--run", "first", code=2, says="has no option 'run'")
