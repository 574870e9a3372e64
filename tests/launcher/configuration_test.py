"""Where an option comes from: the command line over the environment over --config over the defaults."""

import re

import pytest

from conftest import log_lines, results

SHORT = ["--max-steps", "3", "--log-steps", "1"]


def steps_of(output):
    return log_lines(output)[-1]["steps"]


def test_the_command_line_goes_over_the_environment_over_the_configuration_file(dtrain, task, tmp_path):
    config = tmp_path / "run.ini"
    config.write_text("max-steps = 2\nbatch-size = 10\nseed = 7\nlog-steps = 1\n")
    dtrain.succeeds("train", *task, "--config", config, "--max-steps", "4", "--output", "out",
                    env={"DTRAIN_MAX_STEPS": "3", "DTRAIN_BATCH_SIZE": "20"})
    found = results(tmp_path / "out")
    assert (found["steps"], found["batch_size"], found["seed"]) == (4, 20, 7)


def test_a_rival_in_the_configuration_file_gives_way_to_the_command_line(dtrain, task, data, tmp_path):
    config = tmp_path / "run.ini"
    config.write_text("max-steps = 2\nmin-steps = 1\n")
    dtrain.refuses("train", *task, "--config", config, code=3, says=["run.ini", "--min-steps and --max-steps", "found both"])
    config.write_text("max-steps = 2\n")
    options = ["--config", config, "--epochs", "1", "--min-steps", "1", "--batch-size", "10"]
    dtrain.succeeds("train", *task, *options, "--output", "out")
    assert results(tmp_path / "out")["steps"] == 12  # one epoch of 120 rows
    written = (tmp_path / "out" / "config.ini").read_text()
    assert "epochs = 1\n" in written and "max-steps" not in written and "task = " not in written
    # The embedded task is there whatever file the configuration names.
    config.write_text(f"train = {tmp_path / 'nowhere.tsv'}\ndev = nowhere.tsv\nlabel-column = nothing\n")
    small = ["--model", task[1], "--max-length", "32", "--samples", "45", "--test-samples", "10", "--ood-samples", "10"]
    dtrain.succeeds("train", *small, *SHORT, "--config", config, "--task", "wordnet", "--output", "embedded")
    assert results(tmp_path / "embedded")["task"] == "wordnet"


def test_a_run_goes_on_with_its_own_configuration_file(dtrain, task, tmp_path):
    dtrain.succeeds("train", *task, *SHORT, "--method", "lora:r=4", "--output", "first")
    config = tmp_path / "first" / "config.ini"
    dtrain.succeeds("train", "--config", config, "--run", "first", "--output", "second")
    assert results(tmp_path / "second")["start"] == "first"
    written = (tmp_path / "second" / "config.ini").read_text()
    assert "run = first\n" in written and "method = " not in written


def test_an_out_of_domain_set_of_the_command_line_replaces_those_of_the_configuration_file(dtrain, task, data, tmp_path):
    config = tmp_path / "run.ini"
    config.write_text(f"ood = first={data}/test.tsv\nood = second={data}/dev.tsv\n")
    dtrain.succeeds("train", *task, *SHORT, "--config", config, "--output", "both")
    assert set(results(tmp_path / "both")["metrics"]) == {"dev", "test", "ood.first", "ood.second"}
    dtrain.succeeds("train", *task, *SHORT, "--config", config, "--ood", f"third={data}/dev.tsv", "--output", "one")
    assert set(results(tmp_path / "one")["metrics"]) == {"dev", "test", "ood.third"}


def test_config_ini_of_a_run_gives_the_same_run_again(dtrain, task, data, tmp_path):
    other = tmp_path / "dev#2.tsv"
    other.write_bytes((data / "dev.tsv").read_bytes())
    dtrain.succeeds("train", *task, *SHORT, "--method", "lora:r=4", "--lr", "1e-3", "--seed", "5", "--ood",
                    f"other={other}", "--drop-unknown-labels", "--warmup-ratio", "0.1", "--output", "first")
    written = (tmp_path / "first" / "config.ini").read_text()
    assert "seed = 5\n" in written and "method = lora:r=4\n" in written and "warmup-ratio = 0.1\n" in written
    # Nothing but the file: the variables that were set for the first run are in it.
    dtrain.succeeds("train", "--config", tmp_path / "first" / "config.ini", "--output", "second",
                    env={"DTRAIN_THREADS": None, "DTRAIN_PRECISION": None})
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert results(tmp_path / "first")["metrics"] == results(tmp_path / "second")["metrics"]
    again = (tmp_path / "second" / "config.ini").read_text()
    assert again == written.replace("output = first", "output = second")


def test_config_ini_holds_the_precision_that_was_chosen(dtrain, task, tmp_path):
    ended = dtrain.succeeds("train", *task, *SHORT, "--output", "out", env={"DTRAIN_PRECISION": "auto"})
    written = [line for line in (tmp_path / "out" / "config.ini").read_text().splitlines() if line.startswith("precision")]
    assert written in (["precision = fp32"], ["precision = bf16"])
    name = written[0].split()[-1]
    for text in (ended.out, results(tmp_path / "out")["machine"]):
        assert re.search(rf"{name} matmuls \((bf16 measured [\d.]+x as fast as fp32|this CPU has no bf16 instructions)\)",
                         text), ended


@pytest.mark.parametrize("content, says", [
    ("batchsize = 3\n", ["unknown option 'batchsize'", "did you mean 'batch-size'?"]),
    ("batch-size = 3\n[train\n", ["run.ini", "[train"]),
    ("batch-size = three\n", ["batch-size: expected a whole number, found 'three'", "run.ini"]),
    ("batch-size = 0\n", ["batch-size: expected at least 1, found 0", "run.ini"]),
    ("input = x\n", ["no option 'input'", "evaluate, predict"]),
])
def test_an_error_in_the_configuration_file_names_it(dtrain, task, tmp_path, content, says):
    (tmp_path / "run.ini").write_text(content)
    dtrain.refuses("train", *task, "--config", "run.ini", code=3, says=[*says, "run.ini"])


def test_a_configuration_file_that_is_not_there_is_an_input_error(dtrain, tmp_path):
    dtrain.refuses("train", "--config", "nowhere.ini", code=3, says="--config: cannot read nowhere.ini")
    dtrain.refuses("train", "--config", tmp_path, code=3, says="--config: cannot read")


def test_a_wrong_value_in_the_environment_names_the_variable(dtrain):
    dtrain.refuses("train", env={"DTRAIN_BATCH_SIZE": "big"}, code=2,
                   says=["--batch-size: expected a whole number, found 'big'", "DTRAIN_BATCH_SIZE"])
    dtrain.refuses("train", env={"DTRAIN_LR": "0"}, code=2, says=["--lr: expected", "DTRAIN_LR"])


def test_a_variable_that_is_no_option_is_said_with_the_nearest(dtrain, task):
    ended = dtrain.succeeds("train", *task, *SHORT, env={"DTRAIN_BATCHSIZE": "3", "DTRAIN_RANKS": "2", "DTRAIN_INPUT": "x"})
    assert "warning: DTRAIN_BATCHSIZE is no option; did you mean 'DTRAIN_BATCH_SIZE'?" in ended.err, ended
    assert "DTRAIN_RANKS" not in ended.err and "DTRAIN_INPUT" not in ended.err, ended


def test_ranks_with_different_options_stop_and_name_the_option(dtrain, task, tmp_path):
    wrapper = tmp_path / "wrapper.sh"
    wrapper.write_text('#!/bin/sh\nexport DTRAIN_SEED=$OMPI_COMM_WORLD_RANK\nexec "$@"\n')
    wrapper.chmod(0o755)
    dtrain.refuses("train", *task, *SHORT, ranks=2, before=[wrapper], code=2,
                   says=["different options", "seed = 0 on rank 0", "seed = 1 on rank 1"])


def test_a_world_that_is_smaller_than_slurm_says_is_refused(dtrain, task):
    step = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    dtrain.refuses("train", *task, *SHORT, env=step, code=2, says=["SLURM started 4 tasks, but MPI sees 1", "--mpi=pmix"])


def test_slurm_starts_a_batch_script_and_a_shell_as_one_process(dtrain, data):
    batch = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
    shell = batch | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}
    for environment in (batch, shell):
        for ranks in (None, 2):
            dtrain.succeeds("inspect", data / "test.tsv", env=environment, ranks=ranks)
    # mpirun starts its daemons on other nodes as a step of one task a node.
    dtrain.succeeds("inspect", data / "test.tsv", env=batch | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}, ranks=2)
