"""Starts either side of a comparison, dtrain or the peer, on the same rows, batches and cores."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from references import REFERENCES

ROOT = Path(__file__).resolve().parent.parent
METHODS = tuple(REFERENCES)
FORWARD = "forward"  # no method: the model scores the samples, and nothing trains
PRECISIONS = ("fp32", "bf16")
DEVICES = ("cpu", "cuda")
BATCH_SIZE = 32
# glibc's allocator keeps the peer's freed memory as launcher/main.cpp has it keep dtrain's.
PEER_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass(frozen=True)
class Setting:
    """What both sides do: one run of one method, or its forward pass alone."""

    method: str
    precision: str
    ranks: int
    samples: int
    lr: float | None  # None: dtrain's default, which only dtrain knows
    seed: int = 0
    epochs: int = 3
    evaluate: bool = False
    device: str = "cpu"
    model: Path | None = None  # None: the embedded one
    length: int | None = None  # tokens of every text; None: the embedded task's texts as they are
    texts: Path | None = None  # where long_texts.py has put texts of that length
    batch_size: int = BATCH_SIZE  # of all ranks
    threads_each: int | None = None  # None: the machine's cores, shared out
    compiled: bool = False  # the peer, by torch.compile

    def task(self, build: Path) -> Path:
        """The folder of the training and dev files."""
        return self.texts or embedded_task(build)

    def max_length(self) -> int:
        """Tokens that a text is cut to."""
        return self.length or 128

    def threads(self) -> int:
        """Of a rank."""
        return self.threads_each or max(1, len(os.sched_getaffinity(0)) // self.ranks)


def environment() -> dict[str, str]:
    """The environment of the runs: this one without what would change a run: DTRAIN_ variables and thread counts."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DTRAIN_") and k != "OMP_NUM_THREADS"}
    # Containers run as root, and may have fewer slots than ranks are asked for.
    return kept | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }


def start(command: list[str], variables: dict[str, str] | None = None) -> str:
    """Runs a program to its end and returns what it wrote; a failure ends the comparison with its last lines.

    `variables` are added to the environment.
    """
    done = subprocess.run(command, env=environment() | (variables or {}), capture_output=True, text=True, check=False)
    require_success(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def require_success(command: list[str], code: int, output: str) -> None:
    """Ends with the last lines of a program that failed."""
    if code != 0:
        tail = "\n".join(output.splitlines()[-20:])
        raise SystemExit(f"{tail}\nfailed with exit code {code}: {' '.join(command)}")


@contextmanager
def beside(command: list[str]) -> Iterator[subprocess.Popen]:
    """A program that runs beside this one; at the end it is waited for, and a failure ends the comparison."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment(), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
            process.wait()
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        require_success(command, process.returncode, output.read())


def require_programs(build: Path) -> None:
    """Ends with the command to run where something is not built."""
    for program in (build / "dtrain", build / "bench" / "dtrain_batch_order"):
        if not program.exists():
            raise SystemExit(f"{program} is missing: ninja -C {build} dtrain dtrain_batch_order")


def require_mpirun() -> None:
    """Ends where there is nothing that starts several ranks."""
    if not shutil.which("mpirun"):
        raise SystemExit("mpirun is missing: scripts/setup.sh installs it")


def share_directory(build: Path) -> Path:
    """Where the embedded model and task are: build trees of other presets have those of the first."""
    own = build / "share" / "dtrain"
    return own if own.exists() else ROOT / "build" / "share" / "dtrain"


def embedded_task(build: Path) -> Path:
    """The folder of the embedded task's files."""
    return share_directory(build) / "tasks" / "wordnet"


def model_directory(build: Path, model: Path | None) -> Path:
    """The encoder that both sides train."""
    return model or share_directory(build) / "models" / "minilm-l6-h384"


def bert_base(build: Path) -> Path:
    """BERT-base's sizes with random weights and the embedded model's tokenizer; made once in the build tree."""
    directory = build / "bench" / "bert-base"
    if not (directory / "model.safetensors").exists():
        import transformers  # takes seconds

        transformers.AutoTokenizer.from_pretrained(model_directory(build, None)).save_pretrained(directory)
        transformers.BertModel(transformers.BertConfig()).save_pretrained(directory)
    return directory


def dtrain_command(build: Path, setting: Setting, directory: Path, *command: str) -> list[str]:
    """A command of dtrain on the setting's texts, as one rank without mpirun."""
    task = setting.task(build)
    started = [str(build / "dtrain"), *command]
    if setting.evaluate:
        started += ["--task=wordnet"]
    else:
        # Dev cannot be left out. One row of it keeps the evaluations (which the clock leaves out) short.
        lines = (task / "dev.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (directory / "dev.tsv").write_text("".join(lines[:2]), encoding="utf-8")
        started += [f"--train={task / 'train.tsv'}", f"--dev={directory / 'dev.tsv'}"]
    return [
        *started,
        f"--precision={setting.precision}",
        f"--samples={setting.samples}",
        f"--threads={setting.threads()}",
        f"--max-length={setting.max_length()}",
        f"--device={setting.device}",
        f"--model={model_directory(build, setting.model)}",
        "--pooling=mean",
    ]


def training_command(build: Path, setting: Setting, directory: Path) -> list[str]:
    """`dtrain train` with `directory`/run for its output, as one rank without mpirun."""
    command = dtrain_command(build, setting, directory, "train")
    command += [
        f"--method={setting.method}",
        f"--seed={setting.seed}",
        f"--epochs={setting.epochs}",
        f"--batch-size={setting.batch_size}",
        "--min-steps=1",
        "--log-steps=1",
        f"--output={directory / 'run'}",
    ]
    return command + ([] if setting.lr is None else [f"--lr={setting.lr}"])


def launched(setting: Setting, command: list[str]) -> list[str]:
    """As users start it; one rank also where there is no mpirun."""
    has_launcher = setting.ranks > 1 or shutil.which("mpirun")
    return (["mpirun", "-np", str(setting.ranks)] if has_launcher else []) + command


def results_of(directory: Path) -> dict:
    """results.json of the run in `directory`, and the loss of each step."""
    results = json.loads((directory / "run" / "results.json").read_text())
    steps = (directory / "run" / "log.jsonl").read_text().splitlines()
    return results | {"losses": [json.loads(step)["loss"] for step in steps]}


def run_dtrain_forward(build: Path, setting: Setting) -> dict:
    """The JSON of `dtrain bench forward`."""
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "forward.json"
        command = dtrain_command(build, setting, Path(name), "bench", "forward")
        start(launched(setting, [*command, f"--json={output}"]))
        return json.loads(output.read_text())


def run_dtrain(build: Path, setting: Setting) -> dict:
    """What `dtrain train` leaves."""
    with tempfile.TemporaryDirectory() as name:
        start(launched(setting, training_command(build, setting, Path(name))))
        return results_of(Path(name))


def run_peer(build: Path, setting: Setting) -> dict:
    """The JSON of bench/peer.py."""
    python = Path(sys.executable)
    # What scores is the model as it is: what has no method is full's.
    method = "full" if setting.method == FORWARD else setting.method
    if REFERENCES[method].package == "adapters":
        python = ROOT / ".venv-adapters" / "bin" / "python"
        if not python.exists():
            raise SystemExit(f"{python} is missing: scripts/setup.sh --tests makes it")
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "peer.json"
        command = [
            str(python),
            str(ROOT / "bench" / "peer.py"),
            f"--method={method}",
            f"--lr={setting.lr or 0.0}",
            f"--precision={setting.precision}",
            f"--ranks={setting.ranks}",
            f"--threads={setting.threads()}",
            f"--samples={setting.samples}",
            f"--seed={setting.seed}",
            f"--epochs={setting.epochs}",
            f"--batch-size={setting.batch_size}",
            f"--device={setting.device}",
            f"--model={model_directory(build, setting.model)}",
            f"--task={setting.task(build)}",
            f"--max-length={setting.max_length()}",
            f"--batch-order={build / 'bench' / 'dtrain_batch_order'}",
            f"--output={output}",
        ]
        command += ["--evaluate"] if setting.evaluate else []
        command += ["--compile"] if setting.compiled else []
        start(command + (["--forward"] if setting.method == FORWARD else []), PEER_ALLOCATOR)
        return json.loads(output.read_text())


def machine() -> dict[str, str]:
    """What a reader needs to place the numbers."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        os.uname().machine,
    )
    flags = Path("/proc/cpuinfo").read_text()
    vector = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    gpus = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"Model:\s*(.*)", gpu.read_text()) for gpu in gpus]
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "vector instructions": " ".join(vector),
        "memory": f"{memory:.0f} GiB",
        "kernel": os.uname().release,
        "gpus": ", ".join(name[1] for name in names if name) or "none",
    }


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns after the first right-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
