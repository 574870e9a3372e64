"""cmake --install gives a dtrain that works from any folder, for any user."""

import os
import pathlib
import subprocess

import pytest

from conftest import Dtrain, results


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", os.environ["DTRAIN_TEST_BUILD"], "--prefix", prefix], check=True,
                   stdout=subprocess.DEVNULL)
    return prefix


def test_the_installed_program_trains_on_its_embedded_task_from_any_folder(prefix, tmp_path, cache):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    ended = Dtrain(folder, cache, prefix / "bin" / "dtrain").succeeds(
        "train", "--method", "head", "--samples", "64", "--max-steps", "2", "--test-samples", "50", "--ood-samples",
        "50", "--output", "out", env={"LD_LIBRARY_PATH": None})
    assert f"{prefix}/share/dtrain/tasks/wordnet" in ended.err, ended
    assert results(folder / "out")["model"] == f"{prefix}/share/dtrain/models/minilm-l6-h384"


def test_the_installed_program_does_without_the_build_tree(prefix):
    dynamic = subprocess.run(["readelf", "-d", prefix / "bin" / "dtrain"], check=True, capture_output=True, text=True)
    paths = [line for line in dynamic.stdout.splitlines() if "PATH" in line]
    assert paths and not any(os.environ["DTRAIN_TEST_BUILD"] + part in line for line in paths for part in ("/", ":", "]"))


def test_nothing_but_the_program_and_its_share_is_installed(prefix):
    found = {str(path.relative_to(prefix)) for path in prefix.iterdir()}
    assert found == {"bin", "share"}
    assert [path.name for path in (prefix / "bin").iterdir()] == ["dtrain"]
    assert (prefix / "share" / "dtrain" / "tasks" / "wordnet" / "examples.tsv").exists()
    assert pathlib.Path(prefix / "share" / "dtrain" / "models" / "minilm-l6-h384" / "model.safetensors").exists()
