#!/usr/bin/env python3
"""The peer: the embedded task trained by the package a method is from, set up as well as its users can.

Length-grouped batches (dtrain's own, from dtrain_batch_order), padding to the longest of a batch, SDPA attention, fused
AdamW, and no work in the loop that training does not need. Writes what a run cost and scored as JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing
import transformers
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_outputs import SequenceClassifierOutput

from references import REFERENCES

EVALUATION_TOKENS = 2048


@dataclass(frozen=True)
class Run:
    """What to train and where; the fields are the command line's."""

    method: str
    precision: str
    ranks: int
    threads: int
    samples: int
    subset_seed: int
    seed: int
    lr: float
    epochs: int
    batch_size: int
    evaluate: bool
    device: str
    model: str
    task: str
    max_length: int
    batch_order: str
    output: str


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


def on_device(host: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor where the model is; the host does not wait for a GPU."""
    return host if device == "cpu" else host.pin_memory().to(device, non_blocking=True)


class MeanPooledBert(transformers.BertForSequenceClassification):
    """BERT with mean pooling, dropout and a linear layer: sentence-transformers' pooling under HF's classification head.

    A frozen body runs in evaluation mode and records nothing, as a user who knows that it is frozen would have it.
    """

    body_is_frozen = False

    @classmethod
    def load(cls, directory: Path, classes: int) -> MeanPooledBert:
        """The encoder's weights and a fresh head."""
        model = cls.from_pretrained(directory, num_labels=classes, attn_implementation="sdpa", dtype=torch.float32)
        model.bert.pooler = None
        nn.init.normal_(model.classifier.weight, std=model.config.initializer_range)
        nn.init.zeros_(model.classifier.bias)
        return model

    def train(self, mode: bool = True) -> MeanPooledBert:
        """Training mode, but not below the lowest trainable part."""
        super().train(mode)
        if self.body_is_frozen:
            self.bert.eval()
        return self

    def forward(
        self,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
        past_key_values: transformers.Cache | None = None,
        **inputs: torch.Tensor,
    ) -> SequenceClassifierOutput:
        """The logits [batch, classes], and the mean loss where there are labels.

        peft gives a prefix to models whose forward has an argument past_key_values.
        """
        if past_key_values is not None:
            inputs["past_key_values"] = past_key_values
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.body_is_frozen):
            hidden = self.bert(attention_mask=attention_mask, **inputs).last_hidden_state
            # The keys of a prefix are masked, too, but have no row here.
            mask = attention_mask[:, -hidden.shape[1] :].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


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


def make_model(run: Run, classes: int, steps: int) -> nn.Module:
    """The classifier with the run's method attached, at the run's seed."""
    torch.manual_seed(run.seed)
    model = MeanPooledBert.load(Path(run.model), classes)
    model.body_is_frozen = run.method == "head"
    return REFERENCES[run.method].attach(model, steps).to(run.device)


def make_optimizer(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Fused AdamW with dtrain's defaults: decay .01, not on biases and norms."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


def autocast(run: Run) -> torch.autocast:
    """bf16 autocast where the run asks for it."""
    return torch.autocast(run.device, torch.bfloat16, enabled=run.precision == "bf16")


def evaluation_batches(lengths: list[int]) -> list[list[int]]:
    """Batches of similar length, at most EVALUATION_TOKENS each with their padding."""
    batches: list[list[int]] = []
    for example in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > EVALUATION_TOKENS:
            batches.append([])
        batches[-1].append(example)
    return batches


@torch.no_grad()
def metrics_on(model: nn.Module, examples: Examples, run: Run) -> dict[str, float]:
    """Accuracy, macro-F1 over the classes that occur, and mean log-loss."""
    model.eval()
    batches = evaluation_batches([len(ids) for ids in examples.ids])
    with autocast(run):
        rows = [model(**examples.batch(batch, run.device)).logits.float().cpu() for batch in batches]
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


def status_bytes(name: str) -> int:
    """Of this process, proc(5): VmRSS now, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """train/peak_memory.h: the weights of the model, and what a run holds besides at its peak."""

    def __init__(self, model: torch.nn.Module, device: str) -> None:
        self.cuda = device == "cuda"
        self.weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            # 5 sets the high-water mark back to the present resident set.
            Path("/proc/self/clear_refs").write_text("5")
        self.before = torch.cuda.memory_allocated() if self.cuda else status_bytes("VmRSS")

    def bytes(self) -> int:
        peak = torch.cuda.max_memory_allocated() if self.cuda else status_bytes("VmHWM")
        return self.weights + max(0, peak - self.before)


class Training:
    """One run on one rank: the loop and what it carries."""

    def __init__(self, run: Run, rank: int, order: dict, examples: Examples, dev: Examples | None) -> None:
        self.run, self.rank, self.order, self.examples, self.dev = run, rank, order, examples, dev
        self.model = make_model(run, len(order["labels"]), len(order["batches"]))
        self.evaluation_seconds = 0.0
        self.losses: list[torch.Tensor] = []  # of each step, over this rank's share
        self.best_loss = float("inf")
        self.best: dict[str, torch.Tensor] = {}

    def train(self) -> float:
        """Trains and returns the seconds without evaluations; the model keeps the best weights on dev, or the last."""
        run, batches = self.run, self.order["batches"]
        torch.manual_seed(run.seed * run.ranks + self.rank)  # dropout differs between ranks
        self.model.train()
        begin = time.perf_counter()
        model = DistributedDataParallel(self.model, gradient_as_bucket_view=True) if run.ranks > 1 else self.model
        optimizer = make_optimizer(self.model, run.lr)
        steps = len(batches)
        schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(np.ceil(0.06 * steps)), steps)
        trainable = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        allocate = getattr(getattr(self.model, "base_model", None), "update_and_allocate", None)  # AdaLoRA's
        for step, batch in enumerate(batches):
            share = share_of_batch(batch, self.rank, run.ranks)
            labels = on_device(self.examples.labels[share], run.device)
            with autocast(run):
                loss = model(**self.examples.batch(share, run.device), labels=labels).loss
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


def place_on_cores(run: Run, rank: int) -> None:
    """Threads of this rank, and the cores it may use: an even share each, as dtrain places its ranks."""
    torch.set_num_threads(run.threads)
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // run.ranks
    if run.ranks > 1 and share > 0:
        os.sched_setaffinity(0, cores[rank * share : (rank + 1) * share])


def run_rank(rank: int, run: Run, order: dict, rendezvous: str) -> None:
    """One rank of the run, from the data to the results (written by the first)."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    place_on_cores(run, rank)
    if run.device == "cuda":
        torch.cuda.set_device(rank)
    if run.ranks > 1:
        torch.distributed.init_process_group(
            "nccl" if run.device == "cuda" else "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=run.ranks,
        )
    task = Path(run.task)
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.model)
    rows = read_rows(task / "train.tsv")
    examples = tokenize([rows[row] for row in order["rows"]], order["labels"], tokenizer, run.max_length)
    if [len(ids) for ids in examples.ids] != order["lengths"]:
        raise SystemExit("peer: some rows have other lengths than in dtrain, so the two would not do the same work")

    def load(name: str) -> Examples:
        return tokenize(read_rows(task / f"{name}.tsv"), order["labels"], tokenizer, run.max_length)

    training = Training(run, rank, order, examples, load("dev") if run.evaluate else None)
    if run.ranks > 1:
        torch.distributed.barrier()
    memory = PeakMemory(training.model, run.device)
    seconds = training.train()
    peak = memory.bytes()
    if run.ranks > 1:
        torch.distributed.destroy_process_group()
    if rank != 0:
        return
    splits = {"test": "test", "ood.examples": "examples"} if run.evaluate else {}
    metrics = {name: metrics_on(training.model, load(file), run) for name, file in splits.items()}
    trained = sum(len(batch) for batch in order["batches"])
    result = {
        **{key: value for key, value in asdict(run).items() if key not in ("model", "task", "batch_order", "output")},
        "trainable_parameters": sum(p.numel() for p in training.model.parameters() if p.requires_grad),
        "tokens_per_sample": sum(order["lengths"]) / len(order["lengths"]),
        "train_seconds": seconds,
        "samples_per_second": trained / seconds,
        "peak_memory_bytes": peak,
        "losses": [loss.item() for loss in training.losses],
        "metrics": metrics,
        "package": REFERENCES[run.method].package,
        "versions": {
            name: importlib.metadata.version(name)
            for name in dict.fromkeys(("torch", "transformers", REFERENCES[run.method].package))
        },
    }
    Path(run.output).write_text(json.dumps(result, indent=2) + "\n")


def read_order(run: Run) -> dict:
    """Rows and batches from dtrain_batch_order."""
    command = [
        run.batch_order,
        f"--model={run.model}",
        f"--train={run.task}/train.tsv",
        f"--max-length={run.max_length}",
        f"--samples={run.samples}",
        f"--subset-seed={run.subset_seed}",
        f"--seed={run.seed}",
        f"--batch-size={run.batch_size}",
        f"--epochs={run.epochs}",
    ]
    order = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if min(len(batch) for batch in order["batches"]) < run.ranks:
        raise SystemExit(f"peer: a batch is smaller than the {run.ranks} ranks; take --samples a multiple of the batch")
    return order


def parse_run() -> Run:
    """The command line."""
    build = Path(__file__).resolve().parent.parent / "build"
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--method", choices=REFERENCES, default="full", help="what trains")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is autocast")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="a rank's; on GPUs one each")
    parser.add_argument("--ranks", type=int, default=1, help="processes, by DistributedDataParallel over gloo or NCCL")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of a rank")
    parser.add_argument("--samples", type=int, required=True, help="training examples, dtrain's draw of them")
    parser.add_argument("--subset-seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the head, the order and dropout")
    parser.add_argument("--lr", type=float, required=True, help="learning rate")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the samples")
    parser.add_argument("--batch-size", type=int, default=32, help="examples of a step, over all ranks")
    parser.add_argument("--evaluate", action="store_true", help="keep the best epoch on dev; score test and ood")
    share = build / "share" / "dtrain"
    parser.add_argument("--model", default=str(share / "models" / "minilm-l6-h384"), help="the encoder's directory")
    task = share / "tasks" / "wordnet"
    parser.add_argument("--task", default=str(task), help="the directory of train.tsv and dev.tsv")
    parser.add_argument("--max-length", type=int, default=128, help="most tokens of an example")
    parser.add_argument("--batch-order", default=str(build / "bench" / "dtrain_batch_order"), help="its program")
    parser.add_argument("--output", required=True, help="JSON file of the results")
    return Run(**vars(parser.parse_args()))


def main() -> None:
    """Starts the ranks."""
    run = parse_run()
    order = read_order(run)
    if run.ranks == 1:
        run_rank(0, run, order, "")
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(run.threads))
    with tempfile.TemporaryDirectory() as directory:
        torch.multiprocessing.spawn(run_rank, (run, order, f"{directory}/rendezvous"), nprocs=run.ranks)


if __name__ == "__main__":
    main()
