"""check_saved.py SAVED_DIRECTORY: transformers and PEFT load what dtrain's tests have saved, and compute its logits."""

import json
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import peft_cases
import reference_models as reference
import torch
from peft import PeftModel
from safetensors.torch import load_file
from saved_batch import check_each, read_batch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def only_pooler(keys):
    return all("pooler" in key for key in keys)


def load_model(directory):
    """`full`: a model directory of its own."""
    model, loading = AutoModelForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    pooling = json.loads((directory / "config.json").read_text())["dtrain_pooling"]
    missing = loading["missing_keys"]
    assert not missing or (pooling != "pooler" and only_pooler(missing)), f"missing: {missing}"
    assert not loading["unexpected_keys"], f"unexpected: {loading['unexpected_keys']}"
    assert not loading["mismatched_keys"], f"of another shape: {loading['mismatched_keys']}"
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    assert names == [f"label {i}" for i in range(len(names))], names
    assert model.config.label2id == {name: i for i, name in enumerate(names)}
    return model, pooling, None


def load_base(description):
    return AutoModelForSequenceClassification.from_pretrained(
        description["base_model"], num_labels=len(description["labels"]), ignore_mismatched_sizes=True)


def load_adapter(directory):
    description = json.loads((directory / "dtrain.json").read_text())
    assert description["labels"] == [f"label {i}" for i in range(len(description["labels"]))]
    base = load_base(description)
    if (directory / "adapter_config.json").exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Found missing adapter keys")  # PEFT only warns of them
            peft = PeftModel.from_pretrained(base, directory)
        written = load_file(directory / "adapter_model.safetensors")
        read = {peft_cases.file_name(name): value
                for name, value in peft.state_dict().items() if "original_module" not in name}
        for name, value in written.items():
            assert name in read, f"PEFT has no place for {name}"
            assert torch.equal(read[name], value), f"PEFT did not take {name}"
        return peft.get_base_model(), description["pooling"], peft
    outcome = base.load_state_dict(load_file(directory / "weights.safetensors"), strict=False)
    assert not outcome.unexpected_keys, outcome.unexpected_keys
    return base, description["pooling"], None


def check(directory):
    whole = (directory / "model").is_dir()
    model, pooling, peft = load_model(directory / "model") if whole else load_adapter(directory / "adapter")
    if (directory / "tokenized").exists():
        text = (directory / "tokenized").read_text()
        assert AutoTokenizer.from_pretrained(directory / "model")(text)["input_ids"][0] == 101
    batch = read_batch(directory / "batch.safetensors", model.config.pad_token_id)
    expected = load_file(directory / "logits.safetensors")["logits"]
    model.eval()
    with torch.no_grad():
        found = reference.logits(model, batch, pooling) if peft is None else peft_cases.logits(peft, batch, pooling)
        difference = (found - expected).abs().max().item()
        assert difference < 1e-5, f"logits differ by {difference}"
        if peft is not None and not peft.active_peft_config.is_prompt_learning:
            # In place: for a head of several linear layers merge_and_unload fails but in LoRA.
            peft.merge_adapter()
            difference = (peft_cases.logits(peft, batch, pooling) - expected).abs().max().item()
            assert difference < 2e-5, f"logits differ by {difference} once merged"


def main(saved):
    # Of adapter-hub's layout (check_saved_adapters.py), and of a method that no peer has on that model.
    others = {path.parent.parent for path in saved.glob("*/adapter/head_config.json")}
    others |= {path for path in saved.glob("distilbert_*_prefix*")}
    directories = sorted(path for path in saved.iterdir() if path.is_dir() and path not in others)
    check_each(directories, check)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
