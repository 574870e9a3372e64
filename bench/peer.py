#!/usr/bin/env python3
"""The peer: the embedded task trained by the package a method is from, set up as well as its users can.

Length-grouped batches (dtrain's own, from dtrain_batch_order), padding to the longest of a batch, SDPA attention, fused
AdamW, and no work in the loop that training does not need. Writes what a run cost and scored as JSON. With --forward
the samples are scored and nothing is trained; with --compile the model is compiled first, outside the clock.
"""

import importlib.metadata
import json
import os
import statistics
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import torch.distributed
import torch.multiprocessing
import transformers

from peer_compilation import compile_before, graphs
from peer_memory import PeakMemory
from peer_model import make_model
from peer_run import Run, parse_run, read_order
from peer_scoring import metrics_on, score, scoring_batches, scoring_seconds
from peer_texts import Examples, read_rows, tokenize
from peer_training import Training
from references import REFERENCES


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

    model = make_model(run, len(order["labels"]), len(order["batches"]))
    if run.ranks > 1:
        torch.distributed.barrier()
    training = Training(run, rank, order, model, examples, load("dev") if run.evaluate else None)
    if run.compiled:
        scoring = [partial(score, model, examples, scoring_batches(examples, run, rank), run)]
        if failure := compile_before(model, scoring if run.forward else training.passes()):
            if rank == 0:
                Path(run.output).write_text(json.dumps({"failure": failure}) + "\n")
            if run.ranks > 1:
                torch.distributed.destroy_process_group()
            return
    compiled = graphs() if run.compiled else 0
    memory = PeakMemory(model, run.device)
    if run.forward:
        seconds = statistics.median(scoring_seconds(model, examples, run, rank))
        measured = {"samples_per_second": len(order["rows"]) / seconds}
    else:
        seconds = training.train()
        trained = sum(len(batch) for batch in order["batches"])
        measured = {"train_seconds": seconds, "samples_per_second": trained / seconds}
        measured["losses"] = [loss.item() for loss in training.losses]
    if run.compiled:
        measured |= {"graphs": compiled, "recompiles": graphs() - compiled}
    peak = memory.bytes()
    if run.ranks > 1:
        torch.distributed.destroy_process_group()
    if rank != 0:
        return
    splits = {"test": "test", "ood.examples": "examples"} if run.evaluate else {}
    result = {
        **{key: value for key, value in asdict(run).items() if key not in ("model", "task", "batch_order", "output")},
        **measured,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "tokens_per_sample": sum(order["lengths"]) / len(order["lengths"]),
        "peak_memory_bytes": peak,
        "metrics": {name: metrics_on(model, load(file), run) for name, file in splits.items()},
        "package": REFERENCES[run.method].package,
        "versions": {
            name: importlib.metadata.version(name)
            for name in dict.fromkeys(("torch", "transformers", REFERENCES[run.method].package))
        },
    }
    Path(run.output).write_text(json.dumps(result, indent=2) + "\n")


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
