"""The peer's forward pass alone: what it scores, and how fast."""

import time

import torch
import torch.distributed
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional

from peer_model import autocast
from peer_run import Run
from peer_texts import Examples, evaluation_batches

PASSES = 5


def score(model: nn.Module, examples: Examples, batches: list[list[int]], run: Run) -> list[torch.Tensor]:
    """The logits of each batch, on the host.

    In inference mode where nothing trains. What a pass leaves in a model that trains on, a cached mask or a projection,
    could not be saved for backward had it been made there.
    """
    model.eval()
    with torch.inference_mode() if run.forward else torch.no_grad(), autocast(run):
        return [model(**examples.batch(batch, run.device)).logits.float().cpu() for batch in batches]


def metrics_on(model: nn.Module, examples: Examples, run: Run) -> dict[str, float]:
    """Accuracy, macro-F1 over the classes that occur, and mean log-loss."""
    batches = evaluation_batches([len(ids) for ids in examples.ids], run.device)
    rows = score(model, examples, batches, run)
    logits = torch.empty(len(examples.ids), rows[0].shape[1])
    for batch, scores in zip(batches, rows, strict=True):
        logits[batch] = scores
    model.train()
    predicted = logits.argmax(1)
    return {
        "accuracy": (predicted == examples.labels).double().mean().item(),
        "macro_f1": float(f1_score(examples.labels.numpy(), predicted.numpy(), average="macro", zero_division=0)),
        "log_loss": functional.cross_entropy(logits.double(), examples.labels).item(),
    }


def scoring_batches(examples: Examples, run: Run, rank: int) -> list[list[int]]:
    """Of this rank: whole batches are dealt, as by dtrain."""
    return evaluation_batches([len(ids) for ids in examples.ids], run.device)[rank :: run.ranks]


def scoring_seconds(model: nn.Module, examples: Examples, run: Run, rank: int) -> list[float]:
    """Of passes over the examples, after one that is not timed."""
    batches = scoring_batches(examples, run, rank)
    seconds = []
    for _ in range(1 + PASSES):
        begin = time.perf_counter()
        score(model, examples, batches, run)
        if run.ranks > 1:
            torch.distributed.barrier()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]
