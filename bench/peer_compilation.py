"""The peer's model through torch.compile, all of its compiling before the clock."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

import torch
import torch.distributed
from torch import nn

# Shapes of one and of more examples, with and without gradients, whatever else a method branches on: torch's own limit,
# 8, is for one function of a model, and beyond it the model runs uncompiled without a word.
MOST_GRAPHS = 64


def graphs() -> int:
    """Compiled so far in this process; one more than before a pass is one that the pass waited for."""
    utils = importlib.import_module("torch._dynamo.utils")
    return utils.counters["stats"]["unique_graphs"]


def compile_before(model: nn.Module, passes: Iterable[Callable[[], object]]) -> str:
    """Compiles the model, for sizes that change, by making the passes; what failed on any rank, in a line, or ""."""
    importlib.import_module("torch._dynamo.config").recompile_limit = MOST_GRAPHS
    model.compile(dynamic=True)
    failure = ""
    try:
        for make in passes:
            make()
    except Exception as error:  # whatever a compiler meets in a model is one of its answers
        words = str(error).strip().splitlines()
        failure = f"{type(error).__name__}: {words[0] if words else ''}"
    model.zero_grad()
    if torch.distributed.is_initialized():
        failures: list[str] = [""] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(failures, failure)
        failure = next((each for each in failures if each), "")
    return failure
