#!/usr/bin/env python3
"""A model of a training step over ranks, from what `dtrain bench scaling` and `dtrain bench allreduce` measured, and what
it says of more ranks, other encoders and other links.

    mpirun -np 2 build/dtrain bench scaling --json scaling.json
    mpirun -np 2 build/dtrain bench allreduce --json links.json
    bench/project_scaling.py scaling.json links.json

A step of R ranks that compute T tokens each:

    seconds = compute + exposed exchange + optimizer + exposed gather (where the optimizer is sharded)
    compute = start + T * seconds a token + beside   least squares over all points of a method, imbalance included; beside:
                                                     what another rank on the node costs (memory, waking up), none alone
    exchange                                         the sooner of a ring (Patarasuk and Yuan, 2009),
        2 (R-1) latency + bytes * 2 (R-1) / R / bus bandwidth, and a tree there and back, 2 log2 R (latency + bytes / bus bandwidth)
                                                     of a sharded optimizer over links that reduce-scatter, half of it
    optimizer = parameters * seconds a parameter     over R where the optimizer is sharded
    gather                                           the sooner of half a ring and a tree's way back, of the bytes gathered;
                                                     it does not shrink with R
    exposed = all * (1 - overlap)                    overlap: measured at the most ranks, none below nothing; the exchange's
                                                     lasts no longer than backward, the gather's no longer than forward

Of other encoders: compute goes with the FLOP of a token, all else with the parameters.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Link:
    name: str
    latency: float  # seconds of a step of the ring
    bus: float  # bytes/s
    scatters: bool  # whether a reduce-scatter is one, and not an all-reduce as over MPI

    def seconds(self, ranks: int, size: float) -> float:
        """Of an all-reduce of so many bytes."""
        return 2 * self.half(ranks, size)

    def half(self, ranks: int, size: float) -> float:
        """Of an all-gather that leaves each rank so many bytes, or of a reduce-scatter."""
        ring = (ranks - 1) * self.latency + size * (ranks - 1) / ranks / self.bus
        tree = math.ceil(math.log2(ranks)) * (self.latency + size / self.bus)
        return min(ring, tree)

    def exchange(self, ranks: int, size: float, sharded: bool) -> float:
        """Of the gradients."""
        return self.half(ranks, size) if sharded and self.scatters else self.seconds(ranks, size)


# Bandwidths of data sheets, of which collectives reach about four fifths; latencies as nccl-tests and OSU benchmarks of
# such machines print them. Not measured here.
PUBLISHED = [
    Link("Ethernet or InfiniBand, 100 Gb/s (published)", 5e-6, 0.8 * 12.5e9, True),
    Link("NVLink 4, 450 GB/s a direction (published)", 3e-6, 0.8 * 450e9, True),
]


@dataclass
class Encoder:
    name: str
    layers: int
    hidden: int
    vocabulary: int = 30522

    def matrices(self) -> int:
        return 12 * self.layers * self.hidden**2

    def trainable(self, method: str) -> int:
        # Of full, the gradients that travel: the word embeddings' only by the rows that a batch reaches.
        return self.matrices() if method == "full" else 4 * 8 * self.hidden * self.layers


MINILM = Encoder("MiniLM-L6-H384", 6, 384)
ENCODERS = [Encoder("BERT-base", 12, 768), Encoder("BERT-large", 24, 1024)]


@dataclass
class StepModel:
    method: str
    start: float
    per_token: float
    beside: float
    overlap: float
    gather_overlap: float
    per_parameter: float
    parameters: int
    exchanged: int
    gathered: int
    sharded: bool

    def seconds(self, tokens: float, ranks: int, link: Link, encoder: Encoder = MINILM, speedup: float = 1) -> dict:
        flop = encoder.matrices() / MINILM.matrices()
        sizes = encoder.trainable(self.method) / MINILM.trainable(self.method)
        compute = self.start * encoder.layers / MINILM.layers + tokens * self.per_token * flop
        compute = (compute + (self.beside * sizes if ranks > 1 else 0)) / speedup
        exchange = gather = 0.0
        if ranks > 1:
            exchange = link.exchange(ranks, sizes * self.exchanged, self.sharded)
            gather = link.half(ranks, sizes * self.gathered)
        optimizer = self.parameters * sizes * self.per_parameter / (ranks if self.sharded else 1) / speedup
        # Only what lasts as long as backward, or forward, can hide behind it.
        exchange -= min(self.overlap * exchange, 2 / 3 * compute)
        gather -= min(self.gather_overlap * gather, 1 / 3 * compute)
        return {"compute": compute, "exchange": exchange, "optimizer": optimizer, "gather": gather}


def tokens_of_rank(point: dict) -> float:
    return point["tokens_per_step"] / point["ranks"]


def hidden_share(whole: float, waited: float) -> float:
    """How much of what a link takes is hidden, where so much of it was waited for."""
    return max(0.0, 1 - waited / whole) if whole > 0 else 0.0


def model_of(method: str, points: list[dict], link: Link) -> StepModel:
    compute = np.array([point["compute_seconds"] + point["imbalance_seconds"] for point in points])
    terms = np.array([[1.0, tokens_of_rank(point), float(point["ranks"] > 1)] for point in points])
    # The least relative errors: short steps count as much as long ones.
    start, per_token, beside = np.linalg.lstsq(terms / compute[:, None], np.ones(len(points)), rcond=None)[0]
    most = max(points, key=lambda point: point["ranks"])
    exchanged, gathered, sharded = most["reduced_bytes"], most["gathered_bytes"], most["sharded_optimizer"]
    overlap = gather_overlap = 0.0
    if most["ranks"] > 1:
        overlap = hidden_share(link.exchange(most["ranks"], exchanged, sharded), most["exchange_seconds"])
        gather_overlap = hidden_share(link.half(most["ranks"], gathered), most["gather_seconds"])
    work = [point["trainable_parameters"] / (point["ranks"] if point["sharded_optimizer"] else 1) for point in points]
    per_parameter = float(np.median([point["optimizer_seconds"] / each for point, each in zip(points, work, strict=True)]))
    return StepModel(method, float(start), float(per_token), float(beside), overlap, gather_overlap, per_parameter,
                     most["trainable_parameters"], exchanged, gathered, sharded)


def measured_link(links: dict) -> Link:
    reduce = next(each for each in links["collectives"] if each["collective"] == "all-reduce")
    ranks = links["ranks"]
    return Link(f"measured ({links['back_end']}, {ranks} ranks)", reduce["latency_seconds"] / (2 * (ranks - 1)),
                reduce["bytes_per_second"] * reduce["bus_share"], links["back_end"] != "mpi")


def print_table(header: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scaling", type=Path, help="of dtrain bench scaling --json")
    parser.add_argument("links", type=Path, help="of dtrain bench allreduce --json")
    parser.add_argument("--tokens", type=float, default=32 * 128, help="of a rank and step (default: 32 texts of 128)")
    parser.add_argument("--speedup", type=float, default=1,
                        help="how many times as fast as here the ranks compute and update (an assumption, and said so)")
    given = parser.parse_args()
    scaling = json.loads(given.scaling.read_text())
    if any("gather_seconds" not in point for point in scaling["points"]):
        parser.error(f"{given.scaling}: expected gather_seconds in each point, found one without; "
                     "measure again with this dtrain's bench scaling")
    link = measured_link(json.loads(given.links.read_text()))
    print(f"{scaling['machine']}\n\nlink, {link.name}: {1e6 * link.latency:.1f} us a step of the ring, "
          f"{link.bus / 1e9:.2f} GB/s\n")

    models, rows, worst = [], [], 0.0
    for method in dict.fromkeys(point["method"] for point in scaling["points"]):
        points = [point for point in scaling["points"] if point["method"] == method]
        models.append(model_of(method, points, link))
        for point in points:
            parts = models[-1].seconds(tokens_of_rank(point), point["ranks"], link)
            error = sum(parts.values()) / point["step_seconds"] - 1
            worst = max(worst, abs(error))
            rows.append([method, point["scaling"], str(point["ranks"]), f"{1e3 * point['step_seconds']:.1f} ms",
                         f"{1e3 * sum(parts.values()):.1f} ms", f"{100 * error:+.0f} %"])
    print_table(["method", "scaling", "ranks", "measured", "model", "error"], rows)
    print(f"largest error: {100 * worst:.0f} %\n")

    if given.speedup != 1:
        print(f"Assumed: ranks that compute and update {given.speedup:g} times as fast as those measured.\n")
    rows = []
    for encoder in ENCODERS:
        for each in [link, *PUBLISHED]:
            for model in models:
                if model.method == "head":
                    continue
                row = [encoder.name, each.name, model.method]
                alone = None
                for ranks in (1, 8, 64, 1024):
                    seconds = sum(model.seconds(given.tokens, ranks, each, encoder, given.speedup).values())
                    alone = alone or seconds
                    row.append(f"{1e3 * seconds:.0f} ms" if ranks == 1 else f"{100 * alone / seconds:.0f} %")
                rows.append(row)
    print(f"Weak scaling, {given.tokens:.0f} tokens a rank: seconds of a step on one rank, and efficiency on more.\n")
    print_table(["encoder", "link", "method", "1 rank", "8", "64", "1,024"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
