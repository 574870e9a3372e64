"""The peer's texts: read and tokenized as its users would, in batches padded to their longest."""

from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import nn

EVALUATION_TOKENS = {"cpu": 2048, "cuda": 16384}  # as train/evaluation.h


def on_device(host: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor where the model is; the host does not wait for a GPU."""
    return host if device == "cpu" else host.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class Examples:
    """Tokenized examples: input ids and token types, one tensor each, and their classes [n]."""

    ids: list[torch.Tensor]
    types: list[torch.Tensor]
    labels: torch.Tensor

    def batch(self, positions: list[int], device: str) -> dict[str, torch.Tensor]:
        """The model's inputs for these examples, padded to the longest of them."""
        ids = [self.ids[i] for i in positions]
        mask = [torch.ones_like(row) for row in ids]
        types = [self.types[i] for i in positions]
        names = ("input_ids", "attention_mask", "token_type_ids")
        pad = nn.utils.rnn.pad_sequence
        padded = zip(names, (ids, mask, types), strict=True)
        return {name: on_device(pad(rows, batch_first=True), device) for name, rows in padded}


def read_rows(path: Path) -> list[tuple[str, str, str]]:
    """Label, text and second text of each row of one of the embedded task's files."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    return [(label, text, pair) for label, text, pair in (line.split("\t") for line in lines if line)]


def tokenize(
    rows: list[tuple[str, str, str]],
    labels: list[str],
    tokenizer: transformers.PreTrainedTokenizerBase,
    max_length: int,
) -> Examples:
    """The rows as the model reads them; a label that is not among `labels` is an error."""
    class_of = {label: index for index, label in enumerate(labels)}
    encoded = tokenizer([row[1] for row in rows], [row[2] for row in rows], truncation=True, max_length=max_length)
    return Examples(
        [torch.tensor(ids) for ids in encoded["input_ids"]],
        [torch.tensor(types) for types in encoded["token_type_ids"]],
        torch.tensor([class_of[row[0]] for row in rows]),
    )


def share_of_batch(batch: list[int], rank: int, ranks: int) -> list[int]:
    """The examples of a batch that a rank trains on: longest first, dealt back and forth, as dtrain deals them."""
    share = []
    for place, example in enumerate(batch):
        turn, position = divmod(place, ranks)
        if (position if turn % 2 == 0 else ranks - 1 - position) == rank:
            share.append(example)
    return share


def evaluation_batches(lengths: list[int], device: str) -> list[list[int]]:
    """Batches of similar length, at most the device's EVALUATION_TOKENS each with their padding."""
    batches: list[list[int]] = []
    for example in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > EVALUATION_TOKENS[device]:
            batches.append([])
        batches[-1].append(example)
    return batches
