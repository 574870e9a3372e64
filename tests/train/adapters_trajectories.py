"""adapters_trajectories.py REFERENCE_DIRECTORY: fifty steps of adapter-hub's package, as train_reference.py has them of
PEFT. It runs in an environment of its own (DTRAIN_ADAPTERS_PYTHON)."""

import copy
import pathlib
import sys

for room in ("model", "peft"):
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / room))

import adapters_cases
import reference_models as reference
import torch
import train_reference
from transformers import BertForSequenceClassification


def unpadded_logits(model, batch, pooling):
    """Each example alone."""
    alone = [reference.Batch([ids], [second], [label], batch.pad)
             for ids, second, label in zip(batch.ids, batch.second, batch.labels)]
    return torch.cat([reference.logits(model, example, pooling) for example in alone])


def write_case(directory, case):
    torch.manual_seed(8)
    base = BertForSequenceClassification.from_pretrained(directory / "no_dropout", attn_implementation="eager")
    start, _ = adapters_cases.adapted(base, case)
    output = directory / "train" / "trajectories" / case.name
    adapters_cases.save(start, case, output)
    batches = train_reference.batches_of_run(train_reference.data_of_runs(start.config))
    for pooling in ("pooler", "mean"):
        model = copy.deepcopy(start).double()
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        forward = reference.logits if case.may_be_padded() else unpadded_logits
        tensors = train_reference.train(lambda batch: forward(model, batch, pooling), trained, batches)
        tensors |= {adapters_cases.file_name(name): value for name, value in trained.items()}
        reference.write_tensors(output / f"{pooling}.safetensors", tensors)


def main(directory):
    for case in adapters_cases.CASES:
        if case.trajectory:
            write_case(directory, case)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
