#!/usr/bin/env python3
"""Speed of dtrain against the package a method is from: the same rows, batches, precision and cores, in turn.

Each cell (encoder, length, method, precision, ranks) is a number of pairs: dtrain, peer, dtrain, peer, ... Each pair
has a seed of its own, 0, 1, ...: the two sides share the order of the rows, not the numbers that they draw. The ratio
of a pair is dtrain's samples/s over the peer's; its median, least and greatest are what is claimed. A run is three
epochs, the first included; loading and tokenizing are outside the clock on both sides, all the rest of the loop is
inside. `forward` is no method: both sides score the same samples several times, and the median counts. Run it on a
machine that does nothing else.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

from long_texts import write_long_texts
from sides import (
    BATCH_SIZE,
    DEVICES,
    FORWARD,
    METHODS,
    PRECISIONS,
    ROOT,
    Setting,
    bert_base,
    embedded_task,
    machine,
    markdown_table,
    model_directory,
    require_programs,
    run_dtrain,
    run_dtrain_forward,
    run_peer,
    start,
)

# The methods of the step that dtrain exists for; the others' steps are made of theirs.
MAIN_METHODS = ("full", "lora", "head")

# Three epochs of these take the peer about 20 s on two cores with AVX-512 BF16.
SAMPLES = {
    ("full", "fp32"): 768,
    ("full", "bf16"): 1536,
    ("lora", "fp32"): 1152,
    ("lora", "bf16"): 2304,
    ("head", "fp32"): 2304,
    ("head", "bf16"): 4096,
    (FORWARD, "fp32"): 1024,
    (FORWARD, "bf16"): 1536,
}
OTHER_SAMPLES = 768

# Tokens of the embedded task's texts, on average.
SHORT = 17

# Ratios that dtrain must reach, at SHORT tokens and elsewhere.
FLOORS = {"full": 1.1, "lora": 1.2, "head": 3.0}
OTHER_FLOOR = 1.0


def samples_of(options: argparse.Namespace, method: str, precision: str, length: int | None, encoder: str) -> int:
    """Samples of a cell: as many as take about as long; four batches at least, one where they are scored again."""
    samples = options.samples or SAMPLES.get((method, precision), OTHER_SAMPLES)
    if options.samples:
        return samples
    heavier = (length or SHORT) / SHORT * (8 if encoder == "bert-base" else 1)
    least = 1 if method == FORWARD else 4
    return max(least * BATCH_SIZE, int(samples / heavier) // BATCH_SIZE * BATCH_SIZE)


def matmul_rate(build: Path, model: Path | None, device: str, precision: str) -> float:
    """GFLOP/s that a layer's matmuls can reach: the best of `dtrain bench gemm` on the device, weighted by work."""
    command = [str(build / "dtrain"), "bench", "gemm", f"--precision={precision}", f"--device={device}"]
    text = start([*command, f"--model={model_directory(build, model)}"])
    rows = re.findall(r"\[\d+, (\d+)\] x \[\d+, (\d+)\]\s+(\d+)\s+(\d+)\s+(\d+)", text)
    rate = {(int(k), int(n)): float(best) for k, n, _, _, best in rows}
    _, hidden, wide = encoder_sizes(build, model)
    work = {(hidden, hidden): 4 * hidden * hidden, (hidden, wide): hidden * wide, (wide, hidden): hidden * wide}
    return sum(work.values()) / sum(work[shape] / rate[shape] for shape in work)


def encoder_sizes(build: Path, model: Path | None) -> tuple[int, int, int]:
    """Layers, hidden size and intermediate size of the encoder."""
    config = json.loads((model_directory(build, model) / "config.json").read_text())
    return config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]


def gflops_of_a_token(build: Path, setting: Setting, cached: bool) -> float:
    """Matmuls that training has to do for a token, averaged over the epochs.

    With P the encoder's matrix parameters: 2P forward; backward as much for the activations, and again for the weights
    where they train. A frozen body is 2P, once in all where its features are kept. What a method adds to a frozen body
    is little, and is left out.
    """
    layers, hidden, wide = encoder_sizes(build, setting.model)
    parameters = layers * (4 * hidden * hidden + 2 * hidden * wide)
    frozen = 2.0 / setting.epochs if cached else 2.0
    top = 2 / layers  # the share of the layers that train
    passes = {FORWARD: 2.0, "full": 6.0, "head": frozen, "layers:k=2": frozen * (1 - top) + 6.0 * top}
    return passes.get(setting.method, 4.0) * parameters / 1e9


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def train_both(build: Path, setting: Setting) -> dict:
    """A pair of trainings: what each side cost."""
    dtrain = run_dtrain(build, setting)
    peer = run_peer(build, replace(setting, lr=dtrain["learning_rate"]))
    if dtrain["cost"]["trainable_parameters"] != peer["trainable_parameters"]:
        raise SystemExit(
            f"{setting.method}: dtrain trains {dtrain['cost']['trainable_parameters']} parameters, "
            f"the peer {peer['trainable_parameters']}"
        )
    return {
        "learning_rate": dtrain["learning_rate"],
        "dtrain": dtrain["cost"] | {"losses": dtrain["losses"]},
        "peer": peer,
    }


def score_both(build: Path, setting: Setting) -> dict:
    """A pair of forward passes over the same rows."""
    return {"dtrain": run_dtrain_forward(build, setting), "peer": run_peer(build, setting)}


def measure(build: Path, setting: Setting, pairs: int, encoder: str) -> dict:
    """One cell: the pairs, their ratios and the share of the matmul rate."""
    runs = []
    for seed in range(pairs):
        run = (score_both if setting.method == FORWARD else train_both)(build, replace(setting, seed=seed))
        peer = run["peer"]
        ours, theirs = run["dtrain"]["samples_per_second"], peer["samples_per_second"]
        kept = ("train_seconds", "samples_per_second", "peak_memory_bytes", "losses")
        run["peer"] = {key: peer[key] for key in kept if key in peer}
        runs.append({"seed": seed, "ratio": ours / theirs, "tokens_per_sample": peer["tokens_per_sample"], **run})
        print(
            f"{setting.method} {setting.precision} {setting.ranks} ranks, seed {seed}: peer {theirs:.0f} samples/s, "
            f"dtrain {ours:.0f}, ratio {ours / theirs:.2f}",
            file=sys.stderr,
        )
    cell: dict = {
        "method": setting.method,
        "precision": setting.precision,
        "ranks": setting.ranks,
        "threads": setting.threads(),
        "samples": setting.samples,
        "epochs": setting.epochs,
        "length": runs[0]["tokens_per_sample"],
        "encoder": encoder,
        "ratio": spread([run["ratio"] for run in runs]),
        "floor": FLOORS.get(setting.method, OTHER_FLOOR),
        "package": peer["package"],
        "versions": peer["versions"],
        "device": setting.device,
        "runs": runs,
    }
    for side in ("dtrain", "peer"):
        cell[side] = spread([run[side]["samples_per_second"] for run in runs])
        tokens = cell[side]["median"] * runs[0]["tokens_per_sample"]
        cell[f"{side}_gflops"] = tokens * gflops_of_a_token(build, setting, side == "dtrain")
        cell[f"{side}_peak_memory_bytes"] = max(run[side]["peak_memory_bytes"] for run in runs)
    return cell


def table(cells: list[dict], rates: dict[tuple[str, str], float]) -> str:
    """The cells in Markdown."""
    header = [
        "encoder",
        "tokens",
        "method",
        "peer's package",
        "precision",
        "ranks",
        "dtrain samples/s",
        "peer samples/s",
        "ratio median (min to max)",
        "floor",
    ]
    header += ["dtrain GFLOP/s (share of the matmuls' rate)", "peer GFLOP/s (share)", "peak memory dtrain, peer (MiB)"]
    rows = []
    for cell in cells:
        ratio, rate = cell["ratio"], rates[cell["encoder"], cell["precision"]]
        share = [f"{cell[f'{s}_gflops']:.0f} ({cell[f'{s}_gflops'] / rate:.0%})" for s in ("dtrain", "peer")]
        memory = [f"{cell[f'{s}_peak_memory_bytes'] / 2**20:.0f}" for s in ("dtrain", "peer")]
        rows.append(
            [
                cell["encoder"],
                f"{cell['length']:.0f}",
                cell["method"],
                cell["package"],
                cell["precision"],
                str(cell["ranks"]),
                f"{cell['dtrain']['median']:.3g}",
                f"{cell['peer']['median']:.3g}",
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                f"{cell['floor']:.1f}",
                *share,
                ", ".join(memory),
            ]
        )
    return markdown_table(header, rows)


def curve(losses: list[list[float]], epochs: int) -> list[str]:
    """Mean loss of each epoch over the runs, with the least and the greatest of the last epoch."""
    steps = len(losses[0]) // epochs
    means = [[statistics.mean(run[i * steps : (i + 1) * steps]) for run in losses] for i in range(epochs)]
    return [f"{statistics.mean(epoch):.2f}" for epoch in means[:-1]] + [
        f"{statistics.mean(means[-1]):.2f} ({min(means[-1]):.2f} to {max(means[-1]):.2f})"
    ]


def whole_trainings(cells: list[dict]) -> list[dict]:
    """Those on one rank: of more, the peer's first logs its own share alone."""
    return [cell for cell in cells if cell["ranks"] == 1 and cell["method"] != FORWARD]


def learning_curves(trainings: list[dict]) -> str:
    """Training loss by epoch on both sides, in Markdown."""
    rows = []
    for cell in trainings:
        row = [cell["encoder"], f"{cell['length']:.0f}", cell["method"], cell["precision"]]
        row.append(f"{cell['runs'][0]['learning_rate']:g}")
        for side in ("dtrain", "peer"):
            row += curve([run[side]["losses"] for run in cell["runs"]], cell["epochs"])
        rows.append(row)
    epochs = range(1, max(cell["epochs"] for cell in trainings) + 1)
    header = ["encoder", "tokens", "method", "precision", "learning rate"]
    header += [f"{s}, epoch {e}" for s in ("dtrain", "peer") for e in epochs]
    return markdown_table(header, rows)


def main() -> None:
    """Measures the cells that were asked for and prints them."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=(*METHODS, FORWARD), default=MAIN_METHODS, help="which methods")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="which precisions")
    parser.add_argument("--ranks", nargs="+", type=int, default=(1, 2), help="which numbers of ranks")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs a cell, each with its own seed")
    parser.add_argument("--samples", type=int, help="samples of every cell (a run of about 20 s on two cores if unset)")
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=int,
        default=(0,),
        help="tokens of every text, made of the embedded task's; 0: its texts as they are, 17 on average",
    )
    parser.add_argument(
        "--encoders", nargs="+", choices=("minilm", "bert-base"), default=("minilm",), help="which encoders' sizes"
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="what both sides compute on")
    parser.add_argument("--model", type=Path, help="another BERT than the embedded one, with its tokenizer")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    parser.add_argument("--output", type=Path, help="JSON file of all that was measured")
    options = parser.parse_args()
    require_programs(options.build)
    models = {"minilm": options.model}
    if "bert-base" in options.encoders:
        models["bert-base"] = bert_base(options.build)
    rates = {
        (encoder, precision): matmul_rate(options.build, models[encoder], options.device, precision)
        for encoder, precision in product(options.encoders, options.precisions)
    }
    cells: list[dict] = []
    with tempfile.TemporaryDirectory() as directory:
        for encoder, length, ranks, precision, method in product(
            options.encoders, options.lengths, options.ranks, options.precisions, options.methods
        ):
            samples = samples_of(options, method, precision, length, encoder)
            texts = Path(directory) / f"{length}-{samples}" if length else None
            if texts and not texts.exists():
                texts.mkdir()
                write_long_texts(embedded_task(options.build) / "train.tsv", texts, length, samples)
            setting = Setting(
                method,
                precision,
                ranks,
                samples,
                None,
                device=options.device,
                model=models[encoder],
                length=length or None,
                texts=texts,
            )
            cells.append(measure(options.build, setting, options.pairs, encoder))
            if options.output:
                # After every cell, so that a run that is cut short leaves what it has.
                report = {
                    "machine": machine(),
                    "matmul_gflops": {f"{encoder} {precision}": rate for (encoder, precision), rate in rates.items()},
                    "cells": cells,
                }
                options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print("matmuls: " + ", ".join(f"{rate:.0f} GFLOP/s {' '.join(key)}" for key, rate in rates.items()) + "\n")
    print(table(cells, rates))
    if trainings := whole_trainings(cells):
        print("\nTraining loss by epoch: mean of the seeds (least to greatest)\n")
        print(learning_curves(trainings))
    below = [
        f"{c['encoder']} {c['length']:.0f} tokens {c['method']} {c['precision']} {c['ranks']} ranks"
        for c in cells
        if c["ratio"]["median"] < c["floor"]
    ]
    if below:
        raise SystemExit(f"below the floor: {', '.join(below)}")


if __name__ == "__main__":
    main()
