"""Adapters into models, several adapters into one, a fine-tuned model into an adapter."""

import json

import pytest

from conftest import Dtrain, predicted_by_dtrain, predicted_by_transformers, results

LENGTH = ["--max-length", "32"]


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory, cache):
    """Finished runs by name."""
    folder = tmp_path_factory.mktemp("trained")
    dtrain = Dtrain(folder, cache)
    runs = {"lora": ["lora"], "other": ["lora", "--seed", "7"], "full": ["full"], "prefix": ["prefix:num_virtual_tokens=4"],
            "wide": ["lora:r=16"], "head": ["head"]}
    for name, (method, *more) in runs.items():
        dtrain.succeeds("train", *task, "--method", method, *more, "--lr", "5e-2", "--max-steps", "100", "--output",
                        name)
    return folder


def accuracy(dtrain, run, data, output):
    dtrain.succeeds("evaluate", "--run", run, "--input", data / "test.tsv", *LENGTH, "--output", output)
    return results(dtrain.folder / output)["metrics"]["test"]


@pytest.mark.parametrize("name", ["lora", "head"])
def test_a_merged_adapter_is_a_plain_model_with_the_same_metrics(dtrain, trained, data, tmp_path, name):
    ended = dtrain.succeeds("merge", "--run", trained / name, "--output", "merged")
    assert "written: merged/model" in ended.out, ended
    model = tmp_path / "merged" / "model"
    assert {path.name for path in model.iterdir()} >= {"config.json", "model.safetensors", "vocab.txt"}
    before, after = accuracy(dtrain, trained / name, data, "a"), accuracy(dtrain, model, data, "b")
    assert after["accuracy"] == before["accuracy"]
    assert after["log_loss"] == pytest.approx(before["log_loss"], abs=2e-3)  # bf16 rounds the merged weight anew


def test_what_cannot_be_merged_is_refused_with_the_reason(dtrain, trained):
    dtrain.refuses("merge", "--run", trained / "prefix", "--output", "merged", code=2, says=["prefix", "cannot be merged"])
    dtrain.refuses("merge", "--run", trained / "full", "--output", "merged", code=2, says="is a whole model already")
    dtrain.refuses("merge", "--output", "merged", code=2, says=["--run", "--adapters"])
    dtrain.refuses("merge", "--run", trained / "lora", code=2, says="--output")


@pytest.mark.parametrize("how", ["linear", "ties", "dare", "svd"])
def test_two_adapters_become_one_that_peft_loads(dtrain, trained, tiny_model, data, tmp_path, how):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    both = f"{trained / 'lora'},{trained / 'other'}"
    density = ["--density", "1"] if how in ("ties", "dare") else []
    ended = dtrain.succeeds("merge", "--adapters", both, "--weights", "1,0", "--how", how, *density, "--output", "one")
    assert "combined by " + how in ended.out, ended
    assert json.loads((tmp_path / "one" / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    before, after = accuracy(dtrain, trained / "lora", data, "a"), accuracy(dtrain, tmp_path / "one", data, "b")
    # Where the signs of the two disagree, ties drops the first's elements.
    assert (after["log_loss"] == pytest.approx(before["log_loss"], abs=2e-3)) == (how != "ties")
    assert after["examples"] == before["examples"]
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3)
    model = PeftModel.from_pretrained(base, tmp_path / "one" / "adapter")
    expected = predicted_by_transformers(model, tiny_model, data, 32)
    assert predicted_by_dtrain(dtrain, "one", data, 32) == pytest.approx(expected, abs=2e-5)


def test_options_that_would_do_nothing_are_refused(dtrain, trained):
    one = ["merge", "--run", trained / "lora", "--output", "merged"]
    dtrain.refuses(*one, "--how", "ties", code=2, says="--how and --weights are about --adapters")
    dtrain.refuses(*one, "--weights", "1,2", code=2, says="--how and --weights are about --adapters")
    dtrain.refuses(*one, "--density", ".3", code=2, says="--density: expected --adapters")
    both = f"{trained / 'lora'},{trained / 'other'}"
    dtrain.refuses("merge", "--adapters", both, "--density", ".3", "--output", "one", code=2, says="such as ties or dare")


def test_adapters_that_do_not_fit_each_other_are_refused(dtrain, trained):
    both = f"{trained / 'lora'},{trained / 'wide'}"
    dtrain.refuses("merge", "--adapters", both, "--output", "one", code=2, says=["ranks differ: 8 and 16", "svd"])
    dtrain.refuses("merge", "--adapters", f"{trained / 'lora'},{trained / 'head'}", "--output", "one", code=2,
                   says="only adapters of lora")
    dtrain.refuses("merge", "--adapters", trained / "lora", "--output", "one", code=2, says="at least two")
    dtrain.refuses("merge", "--adapters", f"{trained / 'lora'},{trained / 'other'}", "--weights", "1", "--output", "one",
                   code=2, says="found 1")
    dtrain.refuses("merge", "--adapters", f"{trained / 'lora'},{trained / 'other'}", "--weights", "1,x", "--output", "one",
                   code=2, says="--weights: expected numbers")
    dtrain.refuses("merge", "--adapters", f"{trained / 'lora'},{trained / 'other'}", "--how", "tie", "--output", "one",
                   code=2, says="did you mean 'ties'?")


def test_extract_keeps_more_of_a_fine_tuned_model_at_a_higher_rank(dtrain, trained, data, tiny_model, tmp_path):
    errors = []
    for rank in (1, 8, 32):
        output = f"extracted{rank}"
        ended = dtrain.succeeds("extract", "--run", trained / "full", "--model", tiny_model, "--input", data / "test.tsv",
                                *LENGTH, "--method", f"lora:r={rank}:target_modules=all-linear:bias=all", "--output", output)
        found = results(tmp_path / output)
        errors.append(sum(row["error"] ** 2 for row in found["linear_layers"]))
        assert "fine-tuned" in ended.out and "extracted" in ended.out, ended
        assert "left out: " in ended.out and "embeddings" in ended.out, ended
        assert (tmp_path / output / "adapter" / "adapter_config.json").exists()
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-6 * errors[0]
    assert set(found["metrics"]) == {"fine-tuned", "extracted"}


def test_extract_gives_back_a_merged_adapter_and_less_at_a_lower_rank(dtrain, trained, data, tiny_model, tmp_path):
    dtrain.succeeds("merge", "--run", trained / "lora", "--output", "merged")
    differences = []
    for rank in (1, 8):
        output = f"extracted{rank}"
        ended = dtrain.succeeds("extract", "--run", "merged", "--model", tiny_model, "--input", data / "test.tsv",
                                *LENGTH, "--method", f"lora:r={rank}", "--output", output)
        assert "left out" not in ended.out, ended
        metrics = results(tmp_path / output)["metrics"]
        differences.append(abs(metrics["extracted"]["log_loss"] - metrics["fine-tuned"]["log_loss"]))
        assert accuracy(dtrain, tmp_path / output, data, f"scored{rank}")["log_loss"] == pytest.approx(
            metrics["extracted"]["log_loss"], abs=1e-5)
    assert differences[1] < 1e-5 and differences[0] > 1e-3, differences


def test_extract_refuses_what_is_no_fine_tuned_model(dtrain, trained, data, tiny_model):
    dtrain.refuses("extract", "--run", trained / "lora", "--model", tiny_model, "--output", "x", code=2,
                   says="expected a whole model")
    dtrain.refuses("extract", "--run", trained / "full", *LENGTH, "--input", data / "test.tsv", "--output", "x", code=2,
                   says="are they of one model?")


@pytest.mark.parametrize("wrong, code, says", [
    (["--input", "missing.tsv"], 3, "missing.tsv"),
    (["--max-length", "4096"], 2, "--max-length"),
])
def test_extract_writes_nothing_where_it_cannot_score(dtrain, trained, data, tiny_model, tmp_path, wrong, code, says):
    extract = ["extract", "--run", trained / "full", "--model", tiny_model, "--input", data / "test.tsv", *LENGTH,
               "--method", "lora", "--output", "x"]
    for option, value in zip(wrong[::2], wrong[1::2]):
        extract[extract.index(option) + 1] = value
    dtrain.refuses(*extract, code=code, says=says)
    assert not (tmp_path / "x").exists()
