"""check_saved_adapters.py SAVED_DIRECTORY: adapter-hub's package loads what dtrain's tests have saved in its layout,
and computes its logits. It runs in an environment of its own (DTRAIN_ADAPTERS_PYTHON)."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import adapters
import reference_models as reference
import torch
from safetensors.torch import load_file
from saved_batch import check_each, read_batch
from transformers import AutoModelForSequenceClassification


def singles(batch):
    return [reference.Batch([ids], [second], [label], batch.pad)
            for ids, second, label in zip(batch.ids, batch.second, batch.labels)]


def check(directory):
    adapter = directory / "adapter"
    description = json.loads((adapter / "dtrain.json").read_text())
    # With another attention the package adds 1 to a prefix' scores in padded batches of DistilBERT.
    model = AutoModelForSequenceClassification.from_pretrained(
        description["base_model"], num_labels=len(description["labels"]), ignore_mismatched_sizes=True,
        attn_implementation="eager")
    adapters.init(model)
    loading = {}
    model.load_adapter(str(adapter), set_active=True, use_safetensors=True, loading_info=loading)
    model.eval()
    # A prefix is there once more in every layer.
    missing = [key for key in loading["missing_keys"] if ".prefix_tuning.pool." not in key]
    assert not missing, f"missing: {missing}"
    assert not loading["unexpected_keys"], f"unexpected: {loading['unexpected_keys']}"
    assert model.config.label2id == {name: i for i, name in enumerate(description["labels"])}
    expected = load_file(directory / "logits.safetensors")["logits"]
    batch = read_batch(directory / "batch.safetensors", model.config.pad_token_id)
    # Gates average over padding, too: one example at a time has none.
    with torch.no_grad():
        actual = torch.cat([reference.logits(model, part, description["pooling"]) for part in
                            (singles(batch) if description["method"].startswith("unipelt") else [batch])])
    difference = (actual - expected).abs().max().item()
    assert difference < 1e-5, f"logits differ by {difference}"


def main(saved):
    directories = sorted(path.parent.parent for path in saved.glob("*/adapter/head_config.json"))
    check_each(directories, check)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
