"""RoBERTa and DistilBERT from a checkpoint to what dtrain leaves: transformers reads it and scores as dtrain does."""

import pytest

from bases import TOKENIZERS, write_distilbert, write_roberta
from conftest import Dtrain, predicted_by_dtrain, predicted_by_transformers, results

# The longest examples take every position there is.
LENGTH = 12
METRICS = ("accuracy", "macro_f1", "log_loss", "matthews")


@pytest.fixture(scope="module", params=[write_roberta, write_distilbert], ids=["roberta", "distilbert"])
def base(request, tmp_path_factory):
    import torch

    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    request.param(folder, LENGTH)
    return folder


def training(base, data, length=LENGTH):
    return ["train", "--model", base, "--max-length", length, "--train", data / "train.tsv", "--dev", data / "dev.tsv",
            "--test", data / "test.tsv"]


@pytest.fixture(scope="module", params=["full", "lora"])
def run(request, base, data, tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp(request.param)
    Dtrain(folder, cache).succeeds(*training(base, data), "--method", request.param, "--lr", "1e-2", "--max-steps",
                                   "80", "--output", "out")
    return folder / "out"


def evaluated(dtrain, run, data):
    dtrain.succeeds("evaluate", "--run", run, "--input", data / "test.tsv", "--max-length", LENGTH, "--output",
                    "evaluated")
    found = results(dtrain.folder / "evaluated")["metrics"]["test"]
    return [found[name] for name in METRICS]


def from_files(folder, **settings):
    from transformers import AutoModelForSequenceClassification
    return AutoModelForSequenceClassification.from_pretrained(folder, **settings)


def test_evaluate_gives_the_metrics_of_the_run(dtrain, run, data):
    trained = results(run)["metrics"]["test"]
    assert evaluated(dtrain, run, data) == pytest.approx([trained[name] for name in METRICS], abs=1e-5)


def test_transformers_loads_what_was_trained_and_gives_the_probabilities_of_predict(dtrain, base, run, data):
    if (run / "model").exists():
        model = from_files(run / "model")
    else:
        from peft import PeftModel
        model = PeftModel.from_pretrained(from_files(base, num_labels=3), run / "adapter")
    expected = predicted_by_transformers(model, base, data, LENGTH)
    assert predicted_by_dtrain(dtrain, run, data, LENGTH) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("run", ["lora"], indirect=True)
def test_a_merged_adapter_is_a_model_of_the_family_that_scores_the_same(dtrain, base, run, data):
    dtrain.succeeds("merge", "--run", run, "--output", "merged")
    model = dtrain.folder / "merged" / "model"
    for name in TOKENIZERS[from_files(model).config.model_type]:
        assert (model / name).read_bytes() == (base / name).read_bytes(), name
    trained = results(run)["metrics"]["test"]
    assert evaluated(dtrain, model, data) == pytest.approx([trained[name] for name in METRICS], abs=1e-5)
    expected = predicted_by_transformers(from_files(model), model, data, LENGTH)
    assert predicted_by_dtrain(dtrain, model, data, LENGTH) == pytest.approx(expected, abs=2e-5)


def test_examples_longer_than_the_positions_are_refused(dtrain, base, data):
    dtrain.refuses(*training(base, data, LENGTH + 1), "--max-steps", "1", code=2,
                   says=f"--max-length {LENGTH} fits")


def test_a_prompt_that_starts_from_a_text_is_that_of_peft(dtrain, task, tiny_model, tmp_path):
    from peft import PromptTuningConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    text = "Which kind of thing is this word"
    # The first step of a schedule has the rate 0.
    method = f"prompt:num_virtual_tokens=12:prompt_tuning_init=TEXT:prompt_tuning_init_text={text}"
    dtrain.succeeds("train", *task, "--method", f"{method}:tokenizer_name_or_path={tiny_model}", "--max-steps", "1",
                    "--output", "out")
    found = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")["prompt_embeddings"]
    model = get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3),
        PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=12, prompt_tuning_init="TEXT",
                           prompt_tuning_init_text=text, tokenizer_name_or_path=str(tiny_model)))
    assert found.equal(model.prompt_encoder["default"].embedding.weight.detach())
