"""The program under test, started as a user starts it, and the small model and data that make its runs short."""

import csv
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from tiny_model import write_tiny_model

PROGRAM = os.environ["DTRAIN_TEST_PROGRAM"]
MPIEXEC = os.environ["DTRAIN_TEST_MPIEXEC"]
SHARE = pathlib.Path(os.environ["DTRAIN_TEST_SHARE"])
MINILM = SHARE / "models" / "minilm-l6-h384"
WORDNET = SHARE / "tasks" / "wordnet"
# Open MPI's session folders. In the common one of the user, a job that ends removes it while another is making its own
# in there, which then fails in MPI_Init.
SESSIONS = tempfile.TemporaryDirectory(prefix="mpi-", ignore_cleanup_errors=True)
os.chmod(SESSIONS.name, 0o1777)  # as /tmp: some runs are another user's


class Ended:
    """A run that has ended: its exit code, what it printed, and how long it took."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __repr__(self):
        return f"exit code {self.code} after {self.seconds:.1f} s\n--- out\n{self.out}\n--- err\n{self.err}"


class Dtrain:
    """Starts dtrain in `folder`, alone (`ranks=None`) or under mpirun."""

    def __init__(self, folder, cache, program=PROGRAM):
        self.folder = folder
        self.program = program
        # Nothing of the user's own settings, the CPU and one thread: the same arithmetic on every machine.
        own = ("DTRAIN_", "OMP_", "OMPI_", "SLURM_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environment = kept | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_orte_tmpdir_base": SESSIONS.name,
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(cache),
            "DTRAIN_DEVICE": "cpu",
            "DTRAIN_THREADS": "1",
            "DTRAIN_PRECISION": "fp32",
            "LC_ALL": "C.UTF-8",
        }

    def start(self, *arguments, ranks=None, env=None, before=(), **settings):
        launcher = [] if ranks is None else [MPIEXEC, "-np", str(ranks)]
        environment = self.environment | (env or {})
        return subprocess.Popen(
            [*launcher, *map(str, before), str(self.program), *map(str, arguments)],
            cwd=settings.pop("cwd", self.folder),
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, **settings)

    def end(self, process, timeout=90):
        begin = time.monotonic()
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"it hangs: no end within {timeout} s\n--- out\n{out}\n--- err\n{err}")
        return Ended(process.returncode, out, err, time.monotonic() - begin)

    def __call__(self, *arguments, timeout=90, **settings):
        return self.end(self.start(*arguments, **settings), timeout)

    def succeeds(self, *arguments, **settings):
        ended = self(*arguments, **settings)
        assert ended.code == 0, repr(ended)
        return ended

    def refuses(self, *arguments, code, says, **settings):
        """It ends with `code`, one error message on standard error that has every word of `says`, and no trace of C++."""
        ended = self(*arguments, **settings)
        assert ended.code == code, repr(ended)
        assert ended.err.count("dtrain: error:") == 1, ended
        for word in [says] if isinstance(says, str) else says:
            assert word in ended.err, ended
        for trace in ("terminate called", "what():", "Exception raised from"):
            assert trace not in ended.err, ended
        return ended


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def dtrain(tmp_path, cache):
    return Dtrain(tmp_path, cache)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The model of tiny_model.py with the embedded one's tokenizer: CTest's, or made here."""
    folder = tmp_path_factory.mktemp("tiny")
    if made := os.environ.get("DTRAIN_TEST_TINY_MODEL"):
        shutil.copytree(made, folder, dirs_exist_ok=True)
    else:
        write_tiny_model(MINILM, folder)
    return folder


CLASSES = {"animal": "cat dog horse bird fish", "plant": "oak rose moss fern pine", "tool": "saw drill axe nail file"}


def rows(count, seed):
    """Rows of (label, text): words of one class among words of none."""
    chance = random.Random(seed)
    found = []
    for index in range(count):
        label = list(CLASSES)[index % 3]
        words = chance.choices("the a small old of in with and near".split(), k=chance.randint(2, 9))
        words.insert(chance.randint(0, len(words)), chance.choice(CLASSES[label].split()))
        found.append((label, " ".join(words)))
    return found


def write_tsv(path, lines, header=("label", "text")):
    path.write_text("".join("\t".join(fields) + "\n" for fields in ([header] if header else []) + list(lines)))
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """train.tsv (120 rows), dev.tsv and test.tsv of a task of three classes that a bag of words solves."""
    folder = tmp_path_factory.mktemp("data")
    for name, count, seed in (("train", 120, 1), ("dev", 30, 2), ("test", 45, 3)):
        write_tsv(folder / f"{name}.tsv", rows(count, seed))
    return folder


@pytest.fixture(scope="session")
def task(tiny_model, data):
    """The options of a run on the small model and data."""
    return ["--model", tiny_model, "--max-length", "32", "--train", data / "train.tsv", "--dev", data / "dev.tsv",
            "--test", data / "test.tsv"]


@pytest.fixture(scope="session")
def wordnet(tmp_path_factory):
    """A folder with 400 training rows and 300 test rows of the embedded task."""
    folder = tmp_path_factory.mktemp("wordnet")
    for name, count in (("train", 400), ("test", 300)):
        with open(WORDNET / f"{name}.tsv", encoding="utf-8") as file:
            (folder / f"{name}.tsv").write_text("".join(next(file) for _ in range(count + 1)), encoding="utf-8")
    return folder


def results(output):
    return json.loads((output / "results.json").read_text())


def log_lines(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def predicted_by_dtrain(dtrain, run, data, length):
    """The probabilities of the classes that predict writes for the test texts, one after the other."""
    dtrain.succeeds("predict", "--run", run, "--input", data / "test.tsv", "--max-length", length, "--output",
                    "predicted", "--overwrite")
    with open(dtrain.folder / "predicted" / "predictions" / "predictions.tsv", encoding="utf-8") as file:
        return [float(row[f"p({label})"]) for row in csv.DictReader(file, delimiter="\t") for label in CLASSES]


def predicted_by_transformers(model, tokenizer_folder, data, length):
    """The same by a model of transformers or peft, with the tokenizer that transformers finds in the folder."""
    import torch
    from transformers import AutoTokenizer

    texts = [line.split("\t")[1] for line in (data / "test.tsv").read_text().splitlines()[1:]]
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    return torch.softmax(logits, 1).flatten().tolist()


def leftovers(folder):
    """What an interrupted write could leave: files and folders under a temporary name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.part"))


def wait_for(condition, seconds=60, what="it"):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def ranks_of(process):
    """The process ids of the ranks below mpirun, by rank."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = (entry / "environ").read_bytes() if parent == process.pid else b""
        except OSError:
            continue
        for variable in environment.split(b"\0"):
            if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[int(variable.split(b"=")[1])] = int(entry.name)
    return found
