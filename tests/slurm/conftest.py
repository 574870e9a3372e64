"""One cluster for all tests, the small model and task of the launcher's tests, and a folder for each test that both
hosts share."""

import importlib.util
import os
import pathlib
import sys

import pytest

from cluster import Cluster, obstacle

ROOT = pathlib.Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("launcher_conftest", ROOT / "tests" / "launcher" / "conftest.py")
small = importlib.util.module_from_spec(_spec)
sys.path.append(str(ROOT / "tests" / "launcher"))  # for what it imports
sys.modules["launcher_conftest"] = small
_spec.loader.exec_module(small)
tiny_model, data, task, cache = small.tiny_model, small.data, small.task, small.cache

PROGRAM = pathlib.Path(small.PROGRAM)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    shared = tmp_path_factory.getbasetemp()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DTRAIN_", "OMPI_", "SLURM_"))}
    environment = kept | {
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "LC_ALL": "C.UTF-8",
        # Four ranks on a machine of two cores must not spin while they wait, nor be refused.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "DTRAIN_BUILD": str(PROGRAM.parent),
        "DTRAIN_SHARE": str(small.SHARE),
        "DTRAIN_DEVICE": "cpu",
        "DTRAIN_THREADS": "1",
        "DTRAIN_PRECISION": "fp32",
    }
    made = Cluster(tmp_path_factory.mktemp("cluster"), environment, [shared, PROGRAM.parent, small.SHARE])
    yield made
    made.end()


@pytest.fixture
def folder(cluster, tmp_path):
    """The working folder of a test; when it ends, none of its jobs is left."""
    yield tmp_path
    cluster("scancel", "--user=root")
    cluster.wait_until_idle()


# What makes the trained bytes the same on any number of ranks.
STEADY = ["--method", "lora", "--batch-size", "8", "--virtual-ranks", "4", "--log-steps", "1"]
# Steps that take some seconds, so that there is time to disturb them.
SOME = 200
ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="session")
def trained_alone(task, cache, tmp_path_factory):
    """The adapter that one rank without SLURM trains in so many steps, as bytes."""
    made = {}

    def of(steps):
        if steps not in made:
            place = tmp_path_factory.mktemp("alone")
            small.Dtrain(place, cache).succeeds("train", *task, *STEADY, "--max-steps", steps, "--output", "out")
            made[steps] = (place / "out" / ADAPTER).read_bytes()
        return made[steps]

    return of


def steps_logged(output):
    log = output / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0
