#!/usr/bin/env python3
"""What a model of the training step (step_model.py) says of the steps that were measured, and of more ranks, other
encoders and other links.

    mpirun -np 2 build/dtrain bench scaling --methods full,lora --json scaling.json
    mpirun -np 2 build/dtrain bench allreduce --json links.json
    mpirun -np 2 --mca pml ob1 --mca btl self,tcp build/dtrain bench allreduce --json tcp.json    # another link
    bench/project_scaling.py scaling.json links.json --link "TCP:tcp.json" --json projection.json
    bench/draw_projection.py projection.json docs/figures

Projected is weak scaling on ranks that have cores of their own. How much of the exchange is hidden depends on the
machine: beside what was seen here stand the steps that hide nothing, and those that hide all that fits behind compute.
Beside ranks that share a training stand those that train a trial each.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

from sides import markdown_table
from step_model import (
    Encoder,
    Link,
    Machine,
    StepModel,
    link_of,
    machine_of,
    measured_link,
    model_of,
    seconds_of_point,
)

# Bandwidths of data sheets, of which collectives reach about four fifths; latencies as nccl-tests and OSU benchmarks of
# such machines print them. Not measured here.
PUBLISHED = [
    link_of("Ethernet or InfiniBand, 100 Gb/s (published)", 5e-6, 0.8 * 12.5e9),
    link_of("NVLink 4, 450 GB/s a direction (published)", 3e-6, 0.8 * 450e9),
]
ENCODERS = [Encoder("BERT-base", 12, 768), Encoder("BERT-large", 24, 1024)]
RANKS = (1, 8, 64, 1024)
# What each point must say.
FIELDS = ("gather_seconds", "dense_parameters", "moment_bytes")
# In the place of a link.
TRIALS = "none: R trials at once, one a rank"


def collectives_of(name: str) -> dict:
    """What `dtrain bench allreduce --json` wrote."""
    file = Path(name)
    if not file.is_file():
        raise argparse.ArgumentTypeError(f"{file}: expected what `dtrain bench --json` writes, found no file")
    found = json.loads(file.read_text())
    if found["ranks"] < 2:
        raise argparse.ArgumentTypeError(
            f"{file}: expected collectives of two ranks or more, found one; measure with mpirun"
        )
    return found


def given_link(text: str) -> Link:
    """NAME:MICROSECONDS:GB/s, or NAME:FILE."""
    name, _, file = text.rpartition(":")
    if file.endswith(".json"):
        return measured_link(collectives_of(file), name)
    name, latency, bandwidth = text.rsplit(":", 2)
    return link_of(name, 1e-6 * float(latency), 1e9 * float(bandwidth))


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scaling", type=Path, help="of dtrain bench scaling --json")
    parser.add_argument("collectives", metavar="links", type=collectives_of, help="of dtrain bench allreduce --json")
    parser.add_argument("--tokens", type=float, default=32 * 128, help="of a rank and step (default: 32 texts of 128)")
    parser.add_argument(
        "--link",
        type=given_link,
        action="append",
        default=[],
        metavar="NAME:US:GB/s|NAME:FILE",
        help="another link: microseconds of a message and GB/s a direction that collectives reach, or the file "
        "(.json) of dtrain bench allreduce --json over it; repeatable",
    )
    parser.add_argument(
        "--speedup",
        type=float,
        default=1,
        help="how many times as fast as here the ranks compute and update (an assumption, and said so)",
    )
    parser.add_argument(
        "--gpus",
        action="store_true",
        help="project for GPUs, where gradients of word embeddings travel whole and no optimizer is sharded by itself",
    )
    parser.add_argument(
        "--within", type=float, help="fail where a measured step is further off than this share"
    )
    parser.add_argument("--json", type=Path, help="file for all that is printed")
    given = parser.parse_args()
    if not given.scaling.is_file():
        parser.error(f"{given.scaling}: expected what `dtrain bench --json` writes, found no file")
    given.measured = json.loads(given.scaling.read_text())
    for field in FIELDS:
        if any(field not in point for point in given.measured["points"]):
            parser.error(
                f"{given.scaling}: expected {field} in each point, found one without; "
                "measure again with this dtrain's bench scaling"
            )
    share = machine_of(given.measured).share
    points = given.measured["points"]
    for method in dict.fromkeys(point["method"] for point in points):
        if all(share(point["ranks"]) > 1 for point in points if point["method"] == method):
            parser.error(
                f"{given.scaling}: expected steps of {method} on ranks that have a core for each thread, found none; "
                "measure fewer ranks, too, or with fewer --threads"
            )
    return given


def checked(models: list[StepModel], points: list[dict], link: Link) -> list[dict]:
    """The measured steps beside the model's."""
    found = []
    for model in models:
        for point in (point for point in points if point["method"] == model.method):
            parts = seconds_of_point(model, point, link)
            of_core = 1 / model.machine.share(point["ranks"])
            step = {name: point[name] for name in ("method", "scaling", "ranks", "step_seconds")}
            error = sum(parts.values()) / point["step_seconds"] - 1
            found.append(step | {"cores_a_thread": of_core, "model": parts, "error": error})
    return found


def projected_step(
    model: StepModel, encoder: Encoder, link: Link, ranks: int, given: argparse.Namespace
) -> dict[str, float]:
    """Its parts in seconds, as the command line has it."""
    work = model.work(encoder, given.tokens, ranks, gpus=given.gpus)
    return model.seconds(given.tokens, ranks, link, work, encoder, speedup=given.speedup, gpus=given.gpus)


def trials_at_once(models: list[StepModel], encoder: Encoder, given: argparse.Namespace) -> list[dict]:
    """Steps and efficiencies of ranks that train a trial each: those of the ranks together, over one rank's."""
    found = []
    for model in models:
        for ranks in RANKS:
            work = model.work(encoder, given.tokens, ranks, gpus=given.gpus)
            alone, parts = (
                model.apart(given.tokens, count, work, encoder, speedup=given.speedup) for count in (1, ranks)
            )
            efficiency = sum(alone.values()) / sum(parts.values())
            found.append(
                {
                    "encoder": encoder.name,
                    "link": TRIALS,
                    "method": model.method,
                    "ranks": ranks,
                    "seconds": parts,
                    "efficiency": efficiency,
                    "hiding_nothing": efficiency,
                    "hiding_all": efficiency,
                }
            )
    return found


def projected(models: list[StepModel], links: list[Link], given: argparse.Namespace) -> list[dict]:
    """Weak scaling: steps and efficiencies of every encoder, link, method and number of ranks."""
    found = []
    models = [model for model in models if model.method != "head"]
    for encoder in ENCODERS:
        for link in links:
            for model in models:
                alone = sum(projected_step(model, encoder, link, 1, given).values())
                for ranks in RANKS:
                    parts = projected_step(model, encoder, link, ranks, given)
                    least, most = (
                        alone / sum(projected_step(model.hiding(share), encoder, link, ranks, given).values())
                        for share in (0, 1)
                    )
                    found.append(
                        {
                            "encoder": encoder.name,
                            "link": link.name,
                            "method": model.method,
                            "ranks": ranks,
                            "seconds": parts,
                            "efficiency": alone / sum(parts.values()),
                            "hiding_nothing": least,
                            "hiding_all": most,
                        }
                    )
        found += trials_at_once(models, encoder, given)
    return found


def check_table(steps: list[dict]) -> str:
    """In Markdown."""
    rows = []
    for step in steps:
        seconds = (step["step_seconds"], sum(step["model"].values()))
        rows.append([step["method"], step["scaling"], str(step["ranks"]), f"{step['cores_a_thread']:g}"])
        rows[-1] += [f"{1e3 * each:.1f} ms" for each in seconds] + [f"{100 * step['error']:+.0f} %"]
    return markdown_table(["method", "scaling", "ranks", "cores a thread", "measured", "model", "error"], rows)


def percent(step: dict) -> str:
    """An efficiency, and what it is where nothing and where all is hidden."""
    low, high = (f"{100 * step[name]:.0f}" for name in ("hiding_nothing", "hiding_all"))
    return f"{100 * step['efficiency']:.0f} %" + (f" ({low} to {high})" if low != high else "")


def projection_table(steps: list[dict]) -> str:
    """In Markdown."""
    rows = []
    for step in steps:
        if step["ranks"] == 1:
            seconds = sum(step["seconds"].values())
            rows.append([step["encoder"], step["link"], step["method"], f"{1e3 * seconds:.0f} ms"])
        else:
            rows[-1].append(percent(step))
    return markdown_table(["encoder", "link", "method", "1 rank", *(f"{ranks:,}" for ranks in RANKS[1:])], rows)


def described(model: StepModel, machine: Machine) -> str:
    """What the points say of a method, in a line."""
    text = (
        f"{model.method}: {1e3 * model.start:.2f} ms + {1e6 * model.per_token:.1f} us a token, "
        f"contention {100 * model.contention:.1f} %, jitter {100 * model.jitter:.1f} %, "
        f"hidden {100 * model.overlap:.0f} % of the exchange and {100 * model.gather_overlap:.0f} % of the gather, "
        f"update {1e3 * model.each:.2f} ms each and {1e3 * model.dealt:.2f} ms dealt"
    )
    if machine.ranks_of_node * machine.threads > machine.cores:
        text += f", ranks that share cores take {model.crowding:.2f} times as long as their share of one"
    return text


def main() -> int:
    """Prints the check and the projection."""
    given = arguments()
    machine = machine_of(given.measured)
    link = measured_link(given.collectives)
    points = given.measured["points"]
    methods = dict.fromkeys(point["method"] for point in points)
    models = [model_of(name, [p for p in points if p["method"] == name], link, machine) for name in methods]
    steps = checked(models, points, link)
    worst = max(abs(step["error"]) for step in steps)
    projection = projected(models, [link, *PUBLISHED, *given.link], given)
    print(f"{given.measured['machine']}\n")
    for line, name in ((link.reduce, "all-reduce"), (link.gather, "all-gather")):
        print(f"{link.name}, {name}: {1e6 * line.latency:.1f} us a message, {line.bandwidth / 1e9:.2f} GB/s")
    print("\n".join(described(model, machine) for model in models) + "\n")
    print(check_table(steps) + "\n")
    crowded = [step for step in steps if step["cores_a_thread"] < 1]
    if crowded:
        of_core = " or ".join(f"{each:g}" for each in sorted({step["cores_a_thread"] for step in crowded}))
        print(f"Steps on more threads than the {machine.cores} cores: each thread has {of_core} of a core.")
    print(f"largest error: {100 * worst:.0f} %\n")
    if given.speedup != 1 or given.gpus:
        ranks = "GPUs" if given.gpus else "ranks"
        print(f"Assumed: {ranks} that compute and update {given.speedup:g} times as fast as a measured rank.\n")
    print(
        f"Weak scaling, {given.tokens:.0f} tokens a rank: seconds of a step on one rank, and efficiency on more, with "
        "as much of the exchange hidden as was seen (nothing hidden to all that fits behind compute). R trials at once "
        "are R trainings: each takes as long as on one rank, but for what ranks of a node cost each other.\n"
    )
    print(projection_table(projection))
    if given.json:
        report = {
            "machine": given.measured["machine"],
            "links": [asdict(each) for each in [link, *PUBLISHED, *given.link]],
            "models": [asdict(model) for model in models],
            "check": steps,
            "largest_error": worst,
            "tokens": given.tokens,
            "speedup": given.speedup,
            "gpus": given.gpus,
            "projection": projection,
        }
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    if given.within is not None and not (math.isfinite(worst) and worst <= given.within):
        print(f"expected an error of at most {given.within:.0%}, found {worst:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
