#!/usr/bin/env python3
"""How fast a training step could be on this machine, phase by phase, and how near dtrain comes.

A phase takes at least max(FLOP / rate of such matmuls, bytes / bandwidth): what it computes at the rate that matmuls of
its shapes reach alone, and what it must move at the rate that memory of that size is moved at. Rates are measured in
this run: matmuls by `dtrain bench gemm`, moving by LibTorch's copy of as many bytes. The step is `dtrain bench step`'s
median. Counted are:

- matmuls of linear layers: 2 P a token forward, 2 P for the activations' gradients, 2 P for the weights' where they
  train (P: the encoder's matrix parameters);
- attention's: two matmuls forward, five backward (the probabilities again, and four gradients), at the same rate;
- activations: each tensor between two operations written once, read once by the next one and once in backward, its
  gradient written and read once. What lies in a cache moves at the cache's rate;
- the optimiser: values, gradients and two moments read, values and two moments written, in bf16 the matmuls' copies too;
  of word embeddings that no text has reached, as in a first step, values alone, read and written (weight decay).

What the floor leaves out (embeddings, head, loss, dropout's random numbers, exp and erf, calls) is what dtrain has on top.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from compare_with_peer import encoder_sizes, matmul_rate
from long_texts import write_long_texts
from sides import BATCH_SIZE, ROOT, bert_base, embedded_task, machine, markdown_table, model_directory, start

# Tensors of the hidden size that a layer makes for each token: query, key, value, attended, projected, two norms with
# what they normalised, the second linear layer's; and the intermediate size's before and after GELU (4 hidden each).
HIDDEN_TENSORS = 10
WIDE_TENSORS = 2
# Written, read by the next operation, read in backward; the gradient written, and read.
MOVES = 5
ATTENTION_MATMULS = 2 + 5


@dataclass
class Phase:
    """A part of the step: what it computes and moves."""

    name: str
    flop: float
    bytes: float
    working_set: float  # bytes that are touched at a time


def bandwidth(size: float, threads: int) -> float:
    """Bytes a second that are moved (read, and written) copying so many."""
    import torch

    torch.set_num_threads(threads)
    source = torch.zeros(max(1 << 14, int(size / 8)))
    target = torch.zeros_like(source)
    best = 0.0
    for _ in range(5):
        repeats = max(1, int(2e8 / source.numel() / 4))
        begin = time.perf_counter()
        for _ in range(repeats):
            target.copy_(source)
        best = max(best, repeats * 8 * source.numel() / (time.perf_counter() - begin))
    return best


def phases(build: Path, model: Path | None, method: str, precision: str, tokens: float, length: float) -> list[Phase]:
    """The phases of a step of so many tokens in texts of that length. Activations are counted in float."""
    layers, hidden, wide = encoder_sizes(build, model)
    parameters = layers * (4 * hidden * hidden + 2 * hidden * wide)
    config = json.loads((model_directory(build, model) / "config.json").read_text())
    embeddings = (config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"]) * hidden
    trains_weights = method == "full"
    linear = (6 if trains_weights else 4) * parameters * tokens
    attention = ATTENTION_MATMULS * 2 * length * tokens * hidden * layers
    activations = (HIDDEN_TENSORS * hidden + WIDE_TENSORS * wide) * tokens * 4
    trained = parameters if trains_weights else 2 * layers * 2 * 8 * hidden
    updated = (28 + (2 if precision == "bf16" else 0)) * trained + (8 * embeddings if trains_weights else 0)
    return [
        Phase("matmuls of linear layers", linear, 0, 1),
        Phase("attention", attention, 0, 1),
        Phase("activations", 0, MOVES * layers * activations, activations),
        Phase("optimiser", 0, updated, updated),
    ]


def measured_step(
    build: Path, model: Path | None, method: str, precision: str, threads: int, length: int | None
) -> tuple[float, float]:
    """Median seconds of a step of BATCH_SIZE texts, and the tokens of a text."""
    with tempfile.TemporaryDirectory() as name:
        command = [str(build / "dtrain"), "bench", "step", f"--method={method}", f"--precision={precision}", "--device=cpu"]
        command += [f"--threads={threads}", f"--batch-size={BATCH_SIZE}", f"--model={model_directory(build, model)}"]
        command += ["--pooling=mean", "--token-cache=none"]
        if length is not None:
            write_long_texts(embedded_task(build) / "train.tsv", Path(name), length, 4 * BATCH_SIZE)
            command += [f"--train={name}/train.tsv", f"--dev={name}/dev.tsv", f"--max-length={length}"]
        text = start(command)
    seconds = re.search(r"seconds\s+[\d.]+\s+([\d.]+)", text)
    tokens = re.search(r"([\d.]+) tokens a sample", text)
    if seconds is None or tokens is None:
        raise SystemExit(f"expected a table of `dtrain bench step`, found:\n{text}")
    return float(seconds[1]), float(tokens[1])


def main() -> None:
    """Measures and prints one row a method and length."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=["full", "lora"], choices=["full", "lora"], help="what trains")
    parser.add_argument("--lengths", nargs="+", type=int, default=[], help="tokens a text, besides the embedded task's")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the matmuls")
    parser.add_argument("--encoder", choices=["minilm", "bert-base"], default="minilm", help="sizes of the model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of the rank")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    model = bert_base(options.build) if options.encoder == "bert-base" else None
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    rate = 1e9 * matmul_rate(options.build, model, "cpu", options.precision)
    moved: dict[float, float] = {}
    rows = []
    for length in [None, *options.lengths]:
        for method in options.methods:
            seconds, tokens = measured_step(options.build, model, method, options.precision, options.threads, length)
            parts = []
            for phase in phases(options.build, model, method, options.precision, tokens * BATCH_SIZE, tokens):
                if phase.bytes and phase.working_set not in moved:
                    moved[phase.working_set] = bandwidth(phase.working_set, options.threads)
                parts.append(max(phase.flop / rate, phase.bytes / moved.get(phase.working_set, 1.0)))
            floor = sum(parts)
            shares = [f"{1000 * part:.1f}" for part in parts]
            rows.append([f"{tokens:.0f}", method, *shares, f"{1000 * floor:.1f}", f"{1000 * seconds:.1f}"])
            rows[-1].append(f"{seconds / floor:.2f}")
            print(f"{method}, {tokens:.0f} tokens: {seconds / floor:.2f} of the floor", file=sys.stderr)
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{options.encoder}, {options.precision}, {options.threads} threads, batches of {BATCH_SIZE}; matmuls {rate / 1e9:.0f} GFLOP/s\n")
    header = ["tokens", "method", "linear ms", "attention ms", "activations ms", "optimiser ms", "floor ms"]
    print(markdown_table([*header, "dtrain ms", "ratio"], rows))


if __name__ == "__main__":
    main()
