"""The program on a GPU: the same numbers as on the CPU, and what it says where ranks and GPUs do not match.

Where no GPU is visible nothing of this has run, and each test says so.
"""

import json
import os
import shutil

import pytest

from conftest import log_lines, predicted_by_dtrain, results, wait_for

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: no GPU is visible here")

GPU = {"DTRAIN_DEVICE": "cuda"}
METHODS = ["full", "lora:lora_dropout=0.1", "head", "unipelt:prefix_length=3", "p-tuning:num_virtual_tokens=4"]



def may_share_a_gpu():
    """Whether NCCL lets ranks share one, which it refuses unless told, from 2.30 on."""
    return "NCCL_MULTI_RANK_GPU_ENABLE" in os.environ


def losses(folder):
    return [line["loss"] for line in log_lines(folder)]


@pytest.mark.parametrize("method", METHODS)
def test_it_predicts_what_the_cpu_predicts_from_what_the_gpu_has_trained(dtrain, task, data, method):
    dtrain.succeeds("train", *task, "--method", method, "--max-steps", "20", "--lr", "3e-3", "--output", "out", env=GPU)
    on_cpu = predicted_by_dtrain(dtrain, "out", data, "32")
    dtrain.environment |= GPU
    assert predicted_by_dtrain(dtrain, "out", data, "32") == pytest.approx(on_cpu, abs=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_without_dropout_it_trains_as_the_cpu_does(dtrain, task, tiny_model, tmp_path, method):
    model = shutil.copytree(tiny_model, tmp_path / "still")
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    (model / "config.json").write_text(json.dumps(config))
    still = [model if item == tiny_model else item for item in task]
    for device in ("cpu", "cuda"):
        dtrain.succeeds("train", *still, "--method", method.replace("lora_dropout=0.1", "r=4"),
                        "--max-steps", "20", "--lr", "3e-3", "--log-steps", "1", "--output", device,
                        env={"DTRAIN_DEVICE": device})
    assert losses(tmp_path / "cuda") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_seed_draws_the_same_dropout_again(dtrain, task, tmp_path, precision):
    for name in ("one", "two"):
        dtrain.succeeds("train", *task, "--max-steps", "20", "--log-steps", "1", "--precision", precision, "--output",
                        name, env=GPU)
    # Sums on a GPU come in any order, so the last digits may differ.
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=1e-3)


def test_a_run_that_is_resumed_goes_on_as_the_run_left_alone(dtrain, task, tmp_path):
    run = ["train", *task, "--max-steps", "30", "--log-steps", "1"]
    dtrain.succeeds(*run, "--output", "alone", env=GPU)
    process = dtrain.start(*run, "--save-steps", "5", "--output", "cut", env=GPU)
    wait_for(lambda: process.poll() is not None or any((tmp_path / "cut" / "checkpoint").glob("step-*[0-9]")))
    process.kill()
    dtrain.end(process)
    dtrain.succeeds(*run, "--save-steps", "5", "--output", "cut", "--resume", env=GPU)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)


@pytest.mark.skipif(may_share_a_gpu(), reason="NCCL was told that ranks may share a GPU")
def test_more_ranks_than_gpus_are_refused_saying_how_many_there_are(dtrain, task):
    count = torch.cuda.device_count()
    dtrain.refuses("train", *task, "--max-steps", "2", "--output", "out", ranks=count + 1, env=GPU, code=2,
                   says=[f"{count + 1} ranks on this node", f"{count} GPU"])


@pytest.mark.skipif(torch.cuda.device_count() < 2 and not may_share_a_gpu(), reason="not run: one GPU for two ranks")
@pytest.mark.parametrize("method", ["full", "lora", "head"])
def test_two_ranks_train_as_one_and_all_reduce_the_trainable_bytes_over_nccl(dtrain, task, tmp_path, method):
    # Dropout is drawn by shard, and each of two ranks is one.
    run = ["train", *task, "--method", method, "--max-steps", "20", "--lr", "3e-3", "--log-steps", "1"]
    dtrain.succeeds(*run, "--virtual-ranks", "2", "--output", "one", env=GPU)
    ended = dtrain.succeeds(*run, "--virtual-ranks", "2", "--output", "two", ranks=2, env=GPU)
    assert "back end nccl" in ended.out, ended
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    ended = dtrain.succeeds(*run, "--output", "plain", ranks=2, env=GPU)
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    cost = results(tmp_path / "plain")["cost"]
    assert cost["allreduce_bytes_per_step"] == 4 * cost["trainable_parameters"] > 0


def test_its_cost_has_the_energy_of_the_gpu_and_the_memory_of_the_host(dtrain, task, tmp_path):
    dtrain.succeeds("train", *task, "--max-steps", "200", "--output", "out", env=GPU)
    cost = results(tmp_path / "out")["cost"]
    assert cost["energy_joules"] > 0 and "gpu" in cost["energy_of"]
    assert cost["peak_host_memory_bytes"] > 0


def test_compare_runs_on_a_gpu(dtrain, task, tmp_path):
    dtrain.succeeds("compare", *task, "--methods", "full,head,lora", "--samples", "60", "--lrs", "1e-3,3e-3", "--epochs",
                    "2", "--output", "study", env=GPU, timeout=300)
    found = results(tmp_path / "study")
    assert {cell["method"] for cell in found["cells"]} == {"full", "head", "lora"}
