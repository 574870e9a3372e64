"""adapters_reference.py REFERENCE_DIRECTORY: adapters that adapter-hub's package writes for the models of
hf_reference.py, with logits and gradients. It runs in an environment of its own (DTRAIN_ADAPTERS_PYTHON)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "model"))

import adapters_cases
import reference_models as reference
import torch
from transformers import AutoModelForSequenceClassification


def write_case(directory, case):
    torch.manual_seed(4)
    # With another attention the package adds 1 to a prefix' scores in padded batches of DistilBERT.
    base = AutoModelForSequenceClassification.from_pretrained(directory / case.base, attn_implementation="eager")
    model, trainable = adapters_cases.adapted(base, case)
    output = directory / "adapter_hub" / case.name
    adapters_cases.save(model, case, output)
    batch = reference.random_batch(model.config, case.lengths, seed=5)
    reference.write_tensors(output / "batch.safetensors", batch.packed())
    tensors = {"trainable": torch.tensor(sum(value.numel() for value in trainable.values()))}
    poolings = case.poolings(model.config)
    for pooling in poolings:
        with torch.no_grad():
            tensors[f"{pooling}.logits32"] = reference.logits(model, batch, pooling)
    model.double()
    for pooling in poolings:
        model.zero_grad()
        with torch.no_grad():
            tensors[f"{pooling}.logits"] = reference.logits(model, batch, pooling)
        value = reference.loss(model, batch, pooling)
        value.backward()
        tensors[f"{pooling}.loss"] = value
        for key, parameter in trainable.items():
            if parameter.grad is not None:
                tensors[f"{pooling}.gradient.{adapters_cases.file_name(key)}"] = parameter.grad
    reference.write_tensors(output / "reference.safetensors", tensors)


def main(directory):
    for case in adapters_cases.CASES:
        write_case(directory, case)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
