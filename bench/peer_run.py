"""What the peer is asked to do: its command line, and the rows and batches that dtrain would train on."""

import argparse
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from references import REFERENCES


@dataclass(frozen=True)
class Run:
    """What to train, or to score, and where; the fields are the command line's."""

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
    forward: bool
    compiled: bool
    device: str
    model: str
    task: str
    max_length: int
    batch_order: str
    output: str


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
    if not run.forward and min(len(batch) for batch in order["batches"]) < run.ranks:
        raise SystemExit(f"peer: a batch is smaller than the {run.ranks} ranks; take --samples a multiple of the batch")
    return order


def parse_run() -> Run:
    """The command line."""
    build = Path(__file__).resolve().parent.parent / "build"
    parser = argparse.ArgumentParser(
        description="The embedded task trained by the package that a method is from",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
    parser.add_argument("--forward", action="store_true", help="train nothing: score the samples, and again")
    compiles = "torch.compile for sizes that change; it compiles before the clock"
    parser.add_argument("--compile", action="store_true", dest="compiled", help=compiles)
    share = build / "share" / "dtrain"
    parser.add_argument("--model", default=str(share / "models" / "minilm-l6-h384"), help="the encoder's directory")
    task = share / "tasks" / "wordnet"
    parser.add_argument("--task", default=str(task), help="the directory of train.tsv and dev.tsv")
    parser.add_argument("--max-length", type=int, default=128, help="most tokens of an example")
    parser.add_argument("--batch-order", default=str(build / "bench" / "dtrain_batch_order"), help="its program")
    parser.add_argument("--output", required=True, help="JSON file of the results")
    return Run(**vars(parser.parse_args()))
