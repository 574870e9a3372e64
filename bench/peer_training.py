"""The peer's training loop: no work in it that training does not need."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed
import transformers
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from peer_model import autocast
from peer_run import Run
from peer_scoring import metrics_on
from peer_texts import Examples, on_device, share_of_batch


def make_optimizer(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Fused AdamW with dtrain's defaults: decay .01, not on biases and norms."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


class Training:
    """One run on one rank: the loop and what it carries."""

    def __init__(
        self, run: Run, rank: int, order: dict, model: nn.Module, examples: Examples, dev: Examples | None
    ) -> None:
        self.run, self.rank, self.order, self.model = run, rank, order, model
        self.examples, self.dev = examples, dev
        self.evaluation_seconds = 0.0
        self.losses: list[torch.Tensor] = []  # of each step, over this rank's share
        self.best_loss = float("inf")
        self.best: dict[str, torch.Tensor] = {}

    def passes(self) -> Iterator[Callable[[], object]]:
        """Forward and backward, once for each shape that this rank's share of a batch has in any epoch; no step."""
        seen = set()
        self.model.train()
        for batch in self.order["batches"]:
            share = share_of_batch(batch, self.rank, self.run.ranks)
            shape = len(share), max(len(self.examples.ids[i]) for i in share)
            if shape not in seen:
                seen.add(shape)
                yield lambda share=share: self.loss(self.model, share).backward()

    def loss(self, model: nn.Module, share: list[int]) -> torch.Tensor:
        """The mean loss of these examples."""
        labels = on_device(self.examples.labels[share], self.run.device)
        with autocast(self.run):
            return model(**self.examples.batch(share, self.run.device), labels=labels).loss

    def train(self) -> float:
        """Trains and returns the seconds without evaluations; the model keeps the best weights on dev, or the last."""
        run, batches = self.run, self.order["batches"]
        torch.manual_seed(run.seed * run.ranks + self.rank)  # dropout differs between ranks
        self.model.train()
        begin = time.perf_counter()
        model = self.model
        if run.ranks > 1:
            # Buffers are positions and fixed projections, the same on every rank from the start.
            model = DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
        optimizer = make_optimizer(self.model, run.lr)
        steps = len(batches)
        schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(np.ceil(0.06 * steps)), steps)
        trainable = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        allocate = getattr(getattr(self.model, "base_model", None), "update_and_allocate", None)  # AdaLoRA's
        for step, batch in enumerate(batches):
            share = share_of_batch(batch, self.rank, run.ranks)
            loss = self.loss(model, share)
            # DDP divides by the ranks: the sum over all of them is the mean over the global batch.
            (loss * (len(share) * run.ranks / len(batch))).backward()
            self.losses.append(loss.detach())
            nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()
            schedule.step()
            if allocate is not None:
                allocate(step)
            optimizer.zero_grad()
            if self.dev is not None and (step + 1) % self.order["steps_per_epoch"] == 0:
                self.keep_if_best()
        if run.ranks > 1:
            torch.distributed.barrier()
        if run.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin - self.evaluation_seconds
        if self.best:
            self.model.load_state_dict(self.best, strict=False)
        return seconds

    def keep_if_best(self) -> None:
        """Scores dev and keeps the trainable weights where its log-loss is the least so far: dtrain's rule."""
        begin = time.perf_counter()
        assert self.dev is not None
        loss = metrics_on(self.model, self.dev, self.run)["log_loss"]
        if loss < self.best_loss:
            self.best_loss = loss
            self.best = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}
        self.evaluation_seconds += time.perf_counter() - begin
