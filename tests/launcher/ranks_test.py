"""What must not depend on the number of ranks, and what each rank takes of the machine."""

import os
import re
import signal
import subprocess

import pytest
import safetensors.numpy

from conftest import log_lines, ranks_of, results, wait_for

RANKS = [1, 2, 4]


def table_of(ended):
    return [line for line in ended.out.splitlines() if line.startswith(("test", "dev"))]


def test_evaluate_prints_the_same_metrics_on_any_number_of_ranks(dtrain, wordnet, tmp_path):
    dtrain.succeeds("train", "--train", wordnet / "train.tsv", "--samples", "128", "--max-steps", "4", "--output", "out")
    printed, written = [], []
    for ranks in RANKS:
        ended = dtrain.succeeds("evaluate", "--run", "out", "--input", wordnet / "test.tsv", "--drop-unknown-labels",
                                "--output", f"metrics{ranks}", ranks=ranks)
        printed.append(table_of(ended))
        written.append(results(tmp_path / f"metrics{ranks}")["metrics"])
    assert len(printed[0]) == 1 and printed == [printed[0]] * 3
    assert written == [written[0]] * 3


@pytest.mark.parametrize("method, ranks", [("full", 2), ("layers:k=1", 4), ("lora", 1), ("lora", 2), ("head", 4)])
def test_the_log_counts_the_trainable_bytes_as_all_reduced(dtrain, task, tmp_path, method, ranks):
    ended = dtrain.succeeds("train", *task, "--method", method, "--max-steps", "3", "--log-steps", "1", "--output",
                            "out", ranks=ranks)
    cost = results(tmp_path / "out")["cost"]
    expected = 4 * cost["trainable_parameters"] if ranks > 1 else 0
    assert cost["trainable_parameters"] > 0
    reduced = [line["allreduce_bytes"] for line in log_lines(tmp_path / "out")]
    assert cost["allreduce_bytes_per_step"] == reduced[-1]
    if method == "full":
        # Of the word embeddings, the rows that the batch reaches, and how many ranks reach each.
        words = safetensors.numpy.load_file(tmp_path / "out" / "model" / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
        dense = expected - words.nbytes
        assert all(dense < found < expected + 4 * len(words) for found in reduced)
    else:
        assert reduced == [expected] * 3
    assert f"{cost['trainable_parameters']:,} trainable parameters" in ended.out, ended


def test_gradients_that_travel_as_bf16_are_half_of_the_bytes(dtrain, task, tmp_path):
    for method in ("lora", "full"):
        runs = {}
        for precision in ("fp32", "bf16"):
            output = tmp_path / f"{method}-{precision}"
            ended = dtrain.succeeds("train", *task, "--method", method, "--max-steps", "8", "--log-steps", "1",
                                    "--reduce-precision", precision, "--output", output, ranks=2)
            assert results(output)["reduce_precision"] == precision
            runs[precision] = results(output)["cost"], log_lines(output)
            assert runs[precision][0]["allreduce_bytes_per_step"] == runs[precision][1][-1]["allreduce_bytes"]
        (exact, exact_lines), (rounded, lines) = runs["fp32"], runs["bf16"]
        # How many ranks reach each row of a table is counted in whole numbers.
        counts = 4 * 30522 if method == "full" else 0
        assert 2 * (rounded["allreduce_bytes_per_step"] - counts) == exact["allreduce_bytes_per_step"] - counts
        kib = 2 * rounded["trainable_parameters"] / 1024
        assert (f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB") + " all-reduced a step" in ended.out, ended
        assert lines[0]["loss"] == exact_lines[0]["loss"]
        assert lines[0]["gradient_norm"] != exact_lines[0]["gradient_norm"]
        for quantity in ("loss", "gradient_norm"):
            assert [line[quantity] for line in lines] == pytest.approx([line[quantity] for line in exact_lines], rel=0.02)


def test_one_rank_has_nothing_to_exchange_and_says_so(dtrain, task, tmp_path):
    run = ["train", *task, "--method", "lora", "--max-steps", "4"]
    dtrain.succeeds(*run, "--output", "exact")
    ended = dtrain.succeeds(*run, "--reduce-precision", "bf16", "--output", "alone")
    assert "--reduce-precision bf16: a training on one rank exchanges nothing, and rounds nothing" in ended.out, ended
    weights = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("exact", "alone")]
    assert weights[0] == weights[1]
    assert results(tmp_path / "alone")["cost"]["allreduce_bytes_per_step"] == 0


# What follows the folder is started, on rank 1 with an empty folder in its place, as in a container of its own.
IN_A_CONTAINER = """
folder=$1
shift
[ "$OMPI_COMM_WORLD_RANK" = 1 ] || exec "$@"
exec unshare --mount sh -c 'mount -t tmpfs none "$0" && exec "$@"' "$folder" "$@"
"""


def test_a_rank_that_does_not_see_the_token_cache_is_sent_the_tokens(dtrain, task, tmp_path):
    cache = tmp_path / "tokens"
    cache.mkdir()
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", cache], capture_output=True).returncode != 0:
        pytest.skip("no file system may be mounted here, as in a container without rights")
    run = ["train", *task, "--method", "lora", "--max-steps", "4", "--token-cache", cache]
    adapters = []
    # The cache is written, then read, then mapped by both.
    for output, before in (("written", ["sh", "-c", IN_A_CONTAINER, "sh", cache]),
                           ("read", ["sh", "-c", IN_A_CONTAINER, "sh", cache]), ("mapped", [])):
        ended = dtrain.succeeds(*run, "--output", output, ranks=2, before=before)
        assert ended.err.count("sends the tokens instead") == (1 if before else 0), ended
        assert ended.err.count("warning: rank 1: cannot open") == (1 if before else 0), ended
        adapters.append((tmp_path / output / "adapter" / "adapter_model.safetensors").read_bytes())
    assert len(list(cache.iterdir())) == 3
    assert adapters == [adapters[0]] * 3


@pytest.mark.parametrize("ranks", [None, 1, 2])
def test_one_and_two_ranks_use_all_the_cores(dtrain, task, ranks):
    """mpirun binds each of two ranks to one core."""
    process = dtrain.start("train", *task, "--max-steps", "100000", ranks=ranks, env={"DTRAIN_THREADS": None})
    first = process.stdout.readline()
    while not process.stdout.readline().startswith("method:"):
        assert process.poll() is None
    pids = [process.pid] if ranks is None else list(ranks_of(process).values())
    cores = os.sched_getaffinity(0)
    # While libraries look at the machine, a thread is moved from core to core for a moment.
    taken = []

    def use_all():
        taken[:] = [os.sched_getaffinity(pid) for pid in pids]
        return set().union(*taken) == cores

    wait_for(use_all, seconds=10, what="all cores' use")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    dtrain.end(process)
    assert sum(len(part) for part in taken) == len(cores), "no two ranks share a core"
    threads, found = re.search(r"(\d+) threads? each on (\d+) core", first).groups()
    assert (int(threads), int(found)) == (len(cores) // len(pids), len(cores))


@pytest.mark.parametrize("ranks", [1, 2])
def test_openmp_finds_the_ranks_share_of_the_cores_when_it_is_loaded(dtrain, ranks):
    """It counts them once. With one core for two threads it would let threads sleep that wait for microseconds."""
    ended = dtrain.succeeds("--version", ranks=ranks, env={"OMP_DISPLAY_ENV": "true", "OMP_NUM_THREADS": None})
    counted = re.findall(r"OMP_NUM_THREADS *= *'(\d+)'", ended.err)
    assert len(counted) >= ranks, ended
    assert set(counted) == {str(max(1, len(os.sched_getaffinity(0)) // ranks))}, ended


def test_cores_that_the_user_has_set_aside_are_left_alone(dtrain, task):
    core = min(os.sched_getaffinity(0))
    for ranks in (None, 1):
        ended = dtrain.succeeds("train", *task, "--max-steps", "1", ranks=ranks, env={"DTRAIN_THREADS": None},
                                preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        assert "1 thread each on 1 core" in ended.out, ended


@pytest.mark.parametrize("variable, value", [("hwloc_base_binding_policy", "core"), ("hwloc_base_cpu_set", "0"),
                                             ("rmaps_base_mapping_policy", "slot:PE=1")])
def test_a_binding_that_the_user_asks_mpirun_for_is_kept(dtrain, task, variable, value):
    ended = dtrain.succeeds("train", *task, "--max-steps", "1", ranks=1,
                            env={"DTRAIN_THREADS": None, f"OMPI_MCA_{variable}": value})
    assert "1 thread each on 1 core" in ended.out, ended


def test_what_all_ranks_print_alike_is_printed_once(dtrain):
    assert dtrain.succeeds("train", "--help", ranks=2).out.count("usage:") == 1
    assert dtrain.succeeds("--version", ranks=2).out.count("dtrain ") == 1


@pytest.mark.parametrize("variables", [{"PMI_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "2"}, {"PMIX_RANK": "1"}])
def test_ranks_that_the_launcher_has_and_mpi_does_not_see_are_refused(dtrain, task, tmp_path, variables):
    """Each would be a run of one rank, all on one directory."""
    name, size = next(iter(variables.items()))
    dtrain.refuses("train", *task, "--max-steps", "1", "--output", "out", env=variables, code=2,
                   says=["SLURM started 2 tasks" if "SLURM" in name else f"({name}={size})", "but MPI sees 1"])
    assert not (tmp_path / "out").exists()
    dtrain.succeeds("train", *task, "--max-steps", "1", ranks=2, env=variables)
