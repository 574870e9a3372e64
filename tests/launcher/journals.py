"""Journals of studies that nobody ran, as `dtrain compare` writes them: every figure and table of a report in a second."""

import json
import math
import random

METHODS = {  # learning rates, seconds of training at 1,000 examples, accuracy at 100 examples, gain of a tenfold, trainable
    "full": ([5e-5, 1.5e-4, 5e-4], 29.0, 0.38, 0.16, 22582701),
    "head": ([3e-3, 1e-2, 3e-2], 1.3, 0.42, 0.09, 17325),
    "lora": ([5e-4, 1.5e-3, 5e-3], 14.0, 0.40, 0.155, 91053),
    "bitfit": ([1e-3, 3e-3, 1e-2], 13.5, 0.40, 0.145, 43053),
}
LABELS = [f"noun.{name}" for name in "act animal artifact body food group plant person".split()] + [
    f"verb.{name}" for name in "change motion social".split()]


def study_plan(methods, samples, seeds=3, task="toy", model="tiny", examples=600, sets=("test", "ood.web")):
    chance = random.Random(1)
    # Uneven classes, the last of which has few examples.
    labels = [min(int(len(LABELS) * chance.random() ** 2), len(LABELS) - 1) for _ in range(examples)]
    share = max(labels.count(i) for i in range(len(LABELS))) / examples
    return {
        "model": model, "task": task, "classes": len(LABELS), "dev_majority_share": share,
        "sets": [{"name": name, "examples": examples, "majority_share": share, "labels": labels} for name in sets],
        "methods": [{"method": name, "learning_rates": METHODS[name][0],
                     "range": [METHODS[name][0][0], METHODS[name][0][-1]]} for name in methods],
        "steps": [{"samples": count, "steps": 150} for count in samples], "search": "halving", "more_seeds": [],
        "samples": samples, "search_seed": 0, "result_seeds": list(range(1, seeds + 1)), "subset_seed": 0,
        "select_metric": "log_loss", "problem_type": "single_label_classification", "metric": "accuracy",
        "margin": 0.01, "identity": {"model": "0123456789abcdef", "precision": "fp32"}}


def hexadecimal(scores):
    padded = scores + [0] * (-len(scores) % 4)
    return "".join(f"{int(''.join(map(str, padded[i:i + 4])), 2):x}" for i in range(0, len(padded), 4))


def trial(plan, phase, method, samples, rate, seed, begin, group, chance, collapsed=False, failure=None, length=1,
          forgetting=True, curves=True):
    rates, seconds, at_hundred, gain, trainable = METHODS[method]
    accuracy = at_hundred + gain * math.log10(samples / 100) + chance.gauss(0, 0.008)
    loss = 2.6 - 2 * accuracy + 1.0 * abs(math.log10(rate / rates[1])) ** 2
    train_seconds = seconds * (0.3 + samples / 1400) * length
    metrics, scores = {"dev": {"accuracy": accuracy, "log_loss": loss, "macro_f1": accuracy * 0.6}}, {}
    if phase == "result":
        for index, spec in enumerate(plan["sets"]):
            level = 0 if collapsed else accuracy * (1 if index == 0 else 0.6) + (0.05 if index and method == "head" else 0)
            easy = random.Random(f"{spec['name']}")  # what is hard is hard for all
            right = [int(easy.random() * 0.6 + chance.random() * 0.4 < level + 0.02 * (label % 3 - 1))
                     for label in spec["labels"]]
            if collapsed:
                right = [int(label == 0) for label in spec["labels"]]
            mean = sum(right) / len(right)
            metrics[spec["name"]] = {"accuracy": mean, "balanced_accuracy": mean * 0.7, "macro_f1": mean * 0.6,
                                     "matthews": 0 if collapsed else mean * 0.9, "log_loss": 3 - 3 * mean}
            scores[spec["name"]] = {"examples": len(right), "hex": hexadecimal(right)}
    if collapsed:
        metrics["dev"]["accuracy"] = plan["dev_majority_share"] - 0.02
        metrics["dev"]["matthews"] = 0
    steps = int(150 * length)
    curve = [{"step": step, "dev": {"log_loss": loss + 1.5 * math.exp(-step / 30) + chance.gauss(0, 0.02)}}
             for step in range(10, steps + 1, 20)] if curves else []
    drift = {"full": 0.62, "head": 0.0, "lora": 0.31, "bitfit": 0.22}[method]
    kept = {"retrieval_mrr_change": -0.4 * drift + chance.gauss(0, 0.01), "cka_drift": drift * 0.5 + abs(chance.gauss(0, 0.01))}
    return {
        "phase": phase, "method": method, "samples": samples, "learning_rate": rate, "seed": seed, "length": length,
        "failure": failure, "steps": steps, "best_step": steps - 10, "ranks": 1,
        "metrics": {} if failure else metrics,
        "cost": {"train_seconds": train_seconds, "samples_per_second": 32 * steps / train_seconds,
                 "peak_memory_bytes": 200_000_000 + 8 * trainable, "trainable_parameters": trainable,
                 "allreduce_bytes_per_step": 4 * trainable, "stored_bytes": 4 * trainable + 900},
        "seconds": train_seconds + 2.5, "group": group, "started": begin, "warnings": [], "curve": [] if failure else curve,
        "forgetting": kept if phase == "result" and not failure and forgetting else {},
        "scores": {} if failure else scores}


def study_trials(plan, groups=2, seed=0, collapsed=frozenset(), failed=frozenset(), **settings):
    """Every trial of the plan, the longest first on the group that is free first. `collapsed`, `failed`: (method, samples, seed)."""
    chance = random.Random(seed)
    free = [0.0] * groups
    lines = []

    def run(*arguments, **more):
        group = free.index(min(free))
        lines.append(trial(plan, *arguments, free[group], group, chance, **settings, **more))
        free[group] += lines[-1]["seconds"] + 0.2

    for samples in plan["samples"]:
        for method in sorted((entry["method"] for entry in plan["methods"]), key=lambda name: -METHODS[name][1]):
            rates = METHODS[method][0]
            for rate in rates:
                # Where results collapse, lower rates learn nothing, or they would be tried in their place.
                run("search", method, samples, rate, plan["search_seed"],
                    collapsed=rate < rates[1] and any(key[:2] == (method, samples) for key in collapsed | failed))
            searched = [line for line in lines if line["phase"] == "search" and (line["method"], line["samples"]) == (method, samples)]
            best = min(searched, key=lambda line: line["metrics"]["dev"]["log_loss"])["learning_rate"]
            for seed_of_result in plan["result_seeds"]:
                key = (method, samples, seed_of_result)
                run("result", method, samples, best, seed_of_result, collapsed=key in collapsed,
                    failure="the loss is not finite at step 3" if key in failed else None)
    return lines


SETTING = {
    "schema": 1, "begun": "2026-01-02 03:04 UTC", "machine": "2 ranks (back end mpi) on the CPU, 1 thread each on 2 cores",
    "command": "mpirun -np 2 dtrain compare --config out/config.ini --output NEW_DIRECTORY",
    "versions": ["dtrain 0.1.0", "LibTorch 2.11.0"], "labels": LABELS, "notes": ["dev: 3 duplicate rows (kept)"]}
RUN = {"ended": False, "groups": 2, "ranks_per_trial": 1, "budget_seconds": 600, "forecast_seconds": 500, "seconds": 540,
       "idle_share": 0.04, "changes": []}


def write_study(folder, plan, trials, setting=SETTING):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"schema": 2, "plan": plan}, *trials, {"run": RUN}]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if setting is not None:
        (folder / "study.json").write_text(json.dumps(setting))
    return folder
