#!/usr/bin/env python3
"""Speed of dtrain against the package a method is from: the same rows, batches, precision and cores, in turn.

Each cell (encoder, length, method, precision, ranks) is a number of pairs: dtrain, peer, dtrain, peer, ... Each pair
has a seed of its own, 0, 1, ...: the two sides share the order of the rows, not the numbers that they draw. The ratio
of a pair is dtrain's samples/s over the peer's; its median, least and greatest are what is claimed. A run is three
epochs, the first included; loading and tokenizing are outside the clock on both sides, all the rest of the loop is
inside. `forward` is no method: both sides score the same samples several times, and the median counts. Run it on a
machine that does nothing else.

--peer and --peer-precisions have the peer run in several ways in each pair; a cell's ratios are against the way with
the greatest median. Where torch.compile fails on a method, that is said, and the way is out. The peer's compiling is
before its clock; what it compiled inside all the same is said, too.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

from long_texts import write_long_texts
from machine_rates import MachineRates
from references import REFERENCES
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
from step_work import Sizes, Step

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

# Of what the peer says of a run.
KEPT = ("train_seconds", "samples_per_second", "peak_memory_bytes", "losses", "graphs", "recompiles", "versions")
# Of the matmuls that are measured: more are multiplied no faster.
MOST_ROWS = 4096
SCORED_TOKENS = 2048  # of a batch that is scored, as train/evaluation.h


def samples_of(options: argparse.Namespace, method: str, precision: str, length: int | None, encoder: str) -> int:
    """Samples of a cell: as many as take about as long; four batches at least, one where they are scored again."""
    samples = options.samples or SAMPLES.get((method, precision), OTHER_SAMPLES)
    if options.samples:
        return samples
    heavier = (length or SHORT) / SHORT * (8 if encoder == "bert-base" else 1)
    least = 1 if method == FORWARD else 4
    return max(least * BATCH_SIZE, int(samples / heavier) // BATCH_SIZE * BATCH_SIZE)


def matmul_rate(build: Path, setting: Setting, length: float) -> float:
    """GFLOP/s at which a step's linear layers could be multiplied here, by one rank of all cores, measured now."""
    if setting.device != "cpu":
        return gemm_rate(build, setting)
    config = json.loads((model_directory(build, setting.model) / "config.json").read_text())
    scored = SCORED_TOKENS if setting.method == FORWARD else length * setting.batch_size
    method = {FORWARD: "head", "head": "head", "full": "full", "layers:k=2": "full"}.get(setting.method, "lora")
    step = Step(Sizes.of(config), method, setting.precision, min(MOST_ROWS, round(scored)), length)
    rates = MachineRates(setting.precision, len(os.sched_getaffinity(0)))
    return rates.rate_of(step.linear_layers()) / 1e9


def gemm_rate(build: Path, setting: Setting) -> float:
    """The same as `dtrain bench gemm` finds it: what machine_rates.py measures is a CPU."""
    command = [str(build / "dtrain"), "bench", "gemm", f"--precision={setting.precision}", f"--device={setting.device}"]
    text = start([*command, f"--model={model_directory(build, setting.model)}"])
    rows = re.findall(r"\[\d+, (\d+)\] x \[\d+, (\d+)\]\s+(\d+)\s+(\d+)\s+(\d+)", text)
    rate = {(int(k), int(n)): float(best) for k, n, _, _, best in rows}
    _, hidden, wide = encoder_sizes(build, setting.model)
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


def way_of(setting: Setting) -> str:
    """How the peer runs, in words."""
    return f"{'compile' if setting.compiled else 'eager'} {setting.precision}"


def run_pair(build: Path, setting: Setting, peers: list[Setting]) -> dict:
    """dtrain, and the peer in each of these ways: what each cost."""
    if setting.method == FORWARD:
        return {
            "dtrain": run_dtrain_forward(build, setting),
            "peers": {way_of(peer): run_peer(build, peer) for peer in peers},
        }
    dtrain = run_dtrain(build, setting)
    rate, cost = dtrain["learning_rate"], dtrain["cost"]
    found = {way_of(peer): run_peer(build, replace(peer, lr=rate)) for peer in peers}
    for peer in found.values():
        if peer.get("trainable_parameters", cost["trainable_parameters"]) != cost["trainable_parameters"]:
            raise SystemExit(
                f"{setting.method}: dtrain trains {cost['trainable_parameters']} parameters, "
                f"the peer {peer['trainable_parameters']}"
            )
    return {"learning_rate": rate, "dtrain": cost | {"losses": dtrain["losses"]}, "peers": found}


def fastest_way(runs: list[dict]) -> str | None:
    """The peer's way with the greatest median samples/s; None where each has failed."""
    rates: dict[str, list[float]] = {}
    for run in runs:
        for way, peer in run["peers"].items():
            rates.setdefault(way, []).append(peer["samples_per_second"])
    return max(rates, key=lambda way: statistics.median(rates[way]), default=None)


def without_failures(setting: Setting, run: dict, failures: dict[str, str]) -> dict:
    """A pair as it is kept: of each way of the peer what it cost; what has failed goes to the failures."""
    ours, found = run["dtrain"]["samples_per_second"], {}
    for way, peer in run["peers"].items():
        said = f"{setting.method} {setting.precision} {setting.ranks} ranks, seed {setting.seed}: peer ({way}) "
        if "failure" in peer:
            failures[way] = peer["failure"]
            print(f"{said}fails: {peer['failure']}", file=sys.stderr)
            continue
        found[way] = {key: peer[key] for key in KEPT if key in peer}
        theirs = peer["samples_per_second"]
        again = f", {peer['recompiles']} graphs compiled inside the clock" if peer.get("recompiles") else ""
        print(f"{said}{theirs:.0f} samples/s, dtrain {ours:.0f}, ratio {ours / theirs:.2f}{again}", file=sys.stderr)
    return {"seed": setting.seed, **run, "peers": found}


def tokens_of_sample(dtrain: dict) -> float:
    """On average, of what dtrain says of a training or of a forward pass."""
    if "tokens_per_sample" in dtrain:
        return dtrain["tokens_per_sample"]
    return dtrain["tokens_per_second"] / dtrain["samples_per_second"]


def measure(build: Path, setting: Setting, pairs: int, encoder: str, peers: list[Setting] | None = None) -> dict:
    """One cell: the pairs, their ratios and the share of the matmul rate; no ratios where no way of the peer works."""
    peers = peers or [setting]
    failures: dict[str, str] = {}
    runs = []
    for seed in range(pairs):
        left = [replace(peer, seed=seed) for peer in peers if way_of(peer) not in failures]
        seeded = replace(setting, seed=seed)
        runs.append(without_failures(seeded, run_pair(build, seeded, left), failures))
    way = fastest_way(runs)
    length = tokens_of_sample(runs[0]["dtrain"])
    cell: dict = {
        "method": setting.method,
        "precision": setting.precision,
        "ranks": setting.ranks,
        "threads": setting.threads(),
        "samples": setting.samples,
        "epochs": setting.epochs,
        "length": length,
        "encoder": encoder,
        "floor": FLOORS.get(setting.method, OTHER_FLOOR),
        "device": setting.device,
        "package": REFERENCES["full" if setting.method == FORWARD else setting.method].package,
        "peer_way": way,
        "peer_failures": failures,
        "ratio": None,
        "runs": runs,
    }
    precisions = {"dtrain": setting.precision}
    if way is not None:
        precisions["peer"] = way.split()[1]
        for run in runs:
            run["peer"] = run["peers"][way]
            run["ratio"] = run["dtrain"]["samples_per_second"] / run["peer"]["samples_per_second"]
        cell["ratio"] = spread([run["ratio"] for run in runs])
        cell["versions"] = runs[0]["peer"]["versions"]
    rates: dict[str, float] = {}
    for side, precision in precisions.items():
        rates[precision] = rates.get(precision) or matmul_rate(build, replace(setting, precision=precision), length)
        cell[side] = spread([run[side]["samples_per_second"] for run in runs])
        gflops = cell[side]["median"] * length * gflops_of_a_token(build, setting, side == "dtrain")
        cell[f"{side}_gflops"] = gflops
        cell[f"{side}_matmul_gflops"] = rates[precision]
        cell[f"{side}_peak_memory_bytes"] = max(run[side]["peak_memory_bytes"] for run in runs)
    return cell


def shown(cell: dict, side: str) -> tuple[str, str, str]:
    """Samples/s, GFLOP/s with their share, and peak memory of a side; dashes where it has not run."""
    if side not in cell:
        return "-", "-", "-"
    gflops = cell[f"{side}_gflops"]
    share = f"{gflops:.0f} ({gflops / cell[f'{side}_matmul_gflops']:.0%})"
    return f"{cell[side]['median']:.3g}", share, f"{cell[f'{side}_peak_memory_bytes'] / 2**20:.0f}"


def table(cells: list[dict]) -> str:
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
        "peer's fastest way",
        "ratio median (min to max)",
        "floor",
    ]
    header += ["dtrain GFLOP/s (share of the matmuls' rate)", "peer GFLOP/s (share)", "peak memory dtrain, peer (MiB)"]
    rows = []
    for cell in cells:
        ratio = cell["ratio"]
        ours, our_share, our_memory = shown(cell, "dtrain")
        theirs, their_share, their_memory = shown(cell, "peer")
        rows.append(
            [
                cell["encoder"],
                f"{cell['length']:.0f}",
                cell["method"],
                cell["package"],
                cell["precision"],
                str(cell["ranks"]),
                ours,
                theirs,
                cell["peer_way"] or "-",
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "-",
                f"{cell['floor']:.1f}",
                our_share,
                their_share,
                f"{our_memory}, {their_memory}",
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
    """Those of both sides on one rank: of more, the peer's first logs its own share alone."""
    return [cell for cell in cells if cell["ranks"] == 1 and cell["method"] != FORWARD and cell["peer_way"]]


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
    parser.add_argument(
        "--peer", nargs="+", choices=("eager", "compile"), default=("eager",), help="how it runs: the fastest counts"
    )
    parser.add_argument(
        "--peer-precisions", nargs="+", choices=PRECISIONS, help="the peer's, the fastest counts (the cell's if unset)"
    )
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
            peers = [
                replace(setting, precision=peer_precision, compiled=how == "compile")
                for how, peer_precision in product(options.peer, options.peer_precisions or [precision])
            ]
            cells.append(measure(options.build, setting, options.pairs, encoder, peers))
            if options.output:
                # After every cell, so that a run that is cut short leaves what it has.
                options.output.write_text(json.dumps({"machine": machine(), "cells": cells}, indent=2) + "\n")
    print(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    print(table(cells))
    for cell in cells:
        for way, failure in cell["peer_failures"].items():
            print(f"\npeer ({way}) fails on {cell['method']}, {cell['ranks']} ranks: {failure}")
    if trainings := whole_trainings(cells):
        print("\nTraining loss by epoch: mean of the seeds (least to greatest)\n")
        print(learning_curves(trainings))
    below = [
        f"{c['encoder']} {c['length']:.0f} tokens {c['method']} {c['precision']} {c['ranks']} ranks"
        for c in cells
        if c["ratio"] and c["ratio"]["median"] < c["floor"]
    ]
    if below:
        raise SystemExit(f"below the floor: {', '.join(below)}")


if __name__ == "__main__":
    main()
