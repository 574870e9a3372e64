#!/usr/bin/env python3
"""How fast a training step could be on this machine, phase by phase, and how near dtrain comes.

A linear layer's matmul takes what the fastest of its shape takes, moving included; another operation at least
max(FLOP / rate of such matmuls, bytes / bandwidth). step_work.py says what a step computes and moves, machine_rates.py
measures the rates in this run, beside the steps of each length: of matmuls the fastest way that LibTorch has (MKL,
oneDNN, either transposed), of moving the copy of as many bytes as an operation touches. A phase is the sum of its
operations, the floor the sum of the phases. Both are of the mean batch: the floor of one with the mean number of
tokens, without the rows that dtrain fills a batch up with; the step is the mean of `dtrain bench step` over whole
epochs of the same texts. head's computes the frozen body anew in each step (--cache-memory 0).

What step_work.py leaves out is what dtrain has on top, so that a ratio of one is not to be had. Where the time above
the floor goes, bench/profile_step.py says.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from long_texts import write_long_texts
from machine_rates import MachineRates
from sides import (
    BATCH_SIZE,
    PRECISIONS,
    ROOT,
    bert_base,
    embedded_task,
    machine,
    markdown_table,
    model_directory,
    start,
)
from step_work import METHODS, PHASES, Sizes, Step

LENGTHS = (0, 64, 128, 256, 512)
# Steps of an epoch: as many as stand for the lengths of the embedded task's texts, and fewer of one length.
BATCHES, BATCHES_OF_ONE_LENGTH = 24, 4


def step_command(options: argparse.Namespace, model: Path, method: str) -> list[str]:
    """`dtrain bench step` on the embedded task's texts."""
    command = [str(options.build / "dtrain"), "bench", "step", f"--method={method}", f"--precision={options.precision}"]
    command += ["--device=cpu", f"--threads={options.threads}", f"--batch-size={options.batch_size}"]
    command += [f"--model={model}", "--pooling=mean", "--token-cache=none", "--whole-epochs"]
    return command + (["--cache-memory=0"] if method == "head" else [])


def read_step(text: str) -> tuple[float, float]:
    """Mean seconds of a step, and the tokens of a text, of what `dtrain bench step` prints."""
    seconds = re.search(r"^seconds +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)", text, re.M)
    tokens = re.search(r"\b([\d.]+) tokens a sample", text)
    if seconds is None or tokens is None:
        raise SystemExit(f"expected the table of `dtrain bench step`, found:\n{text}")
    return float(seconds[1]), float(tokens[1])


def phase_seconds(step: Step, rates: MachineRates) -> dict[str, float]:
    """The floor of each phase."""
    seconds = dict.fromkeys(PHASES, 0.0)
    for work in step.work():
        seconds[work.phase] += rates.seconds(work)
    return seconds


def measure(options: argparse.Namespace, encoder: str, length: int, rates: MachineRates) -> list[dict]:
    """The methods' steps at one length, beside their floors."""
    model = model_directory(options.build, bert_base(options.build) if encoder == "bert-base" else None)
    sizes = Sizes.of(json.loads((model / "config.json").read_text()))
    cells = []
    with tempfile.TemporaryDirectory() as name:
        texts = [f"--samples={BATCHES * options.batch_size}"]
        if length:
            rows = BATCHES_OF_ONE_LENGTH * options.batch_size
            write_long_texts(embedded_task(options.build) / "train.tsv", Path(name), length, rows)
            texts = [f"--train={name}/train.tsv", f"--dev={name}/dev.tsv", f"--max-length={length}"]
        for method in options.methods:
            seconds, tokens_of_text = read_step(start(step_command(options, model, method) + texts))
            tokens = round(tokens_of_text * options.batch_size)
            phases = phase_seconds(Step(sizes, method, options.precision, tokens, tokens_of_text), rates)
            floor = sum(phases.values())
            cell = {"encoder": encoder, "tokens": tokens_of_text, "method": method, "precision": options.precision}
            cells.append(cell | {"phases": phases, "floor": floor, "step": seconds, "ratio": seconds / floor})
            said = f"{encoder}, {tokens_of_text:.0f} tokens, {method}: {seconds / floor:.2f} times the floor"
            print(said, file=sys.stderr)
    return cells


def table(cells: list[dict]) -> str:
    """In Markdown; milliseconds."""

    def shown(seconds: float) -> str:
        return f"{1000 * seconds:.1f}" if seconds else ""

    rows = [
        [cell["encoder"], f"{cell['tokens']:.0f}", cell["method"]]
        + [shown(cell["phases"][phase]) for phase in PHASES]
        + [shown(cell["floor"]), shown(cell["step"]), f"{cell['ratio']:.2f}"]
        for cell in cells
    ]
    return markdown_table(["encoder", "tokens", "method", *PHASES, "floor ms", "dtrain ms", "ratio"], rows)


def main() -> None:
    """Measures what was asked for and prints a row a method and length."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="what trains")
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=LENGTHS, help="tokens a text; 0: the embedded task's, 17 on average"
    )
    parser.add_argument(
        "--encoders", nargs="+", choices=("minilm", "bert-base"), default=("minilm",), help="which encoders' sizes"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the matmuls")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="texts of a step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of the rank")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    parser.add_argument("--output", type=Path, help="JSON file of all that was measured")
    options = parser.parse_args()
    rates = MachineRates(options.precision, options.threads)
    cells: list[dict] = []
    for encoder in options.encoders:
        for length in options.lengths:
            cells += measure(options, encoder, length, rates)
            if options.output:
                # After every length, so that a run that is cut short leaves what it has.
                report = {"machine": machine(), "threads": options.threads, "batch_size": options.batch_size}
                options.output.write_text(json.dumps(report | rates.measured() | {"cells": cells}, indent=2) + "\n")
    best = max(rates.flop_rates.values()) / 1e9
    moved = [f"{rates.byte_rates[size] / 1e9:.0f} GB/s" for size in (min(rates.byte_rates), max(rates.byte_rates))]
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{options.precision}, {options.threads} threads, batches of {options.batch_size}")
    print(f"matmuls up to {best:.0f} GFLOP/s, moving {moved[0]} (in a cache) to {moved[1]} (in memory)\n")
    print(table(cells))


if __name__ == "__main__":
    main()
