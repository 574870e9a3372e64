#!/usr/bin/env python3
"""Where the time of a training step goes, by operation: perf samples of a running `dtrain train`, grouped by symbol.

perf (Debian's linux-perf) is attached after the first steps, so that loading is not in the picture. One rank, since
waiting for another would hide what computes.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from sides import BATCH_SIZE, METHODS, PRECISIONS, ROOT, environment, markdown_table

# The kernels of model/kernels/loops.h, by the operation that they are. tests/scripts/profile_test.py holds them to the
# symbols of the program.
KERNELS = {
    "attention (fused)": ("attention_forward", "attention_backward"),
    "layer norm, dropout, residual (fused)": ("norm_forward", "norm_backward"),
    "dropout alone": ("dropout",),
    "AdamW": ("adamw", "scale"),
    "gradient norm": ("sum_of_squares",),
    "bias gradients and other sums": ("sum_rows",),
}
# What else there is: the first pattern that a "library symbol" line matches names its operation.
OPERATIONS = {
    "packing for the matmuls": r"jit_\w*copy|reorder",
    "matmuls": r"gem[mv]|mkl_|dnnl|cpu::x64",
    "GELU": r"[Gg]elu|jit_uni_kernel",
    "attention (fused)": r"_times_(panels|rows)|pack_panels|keep_factors|kernels::amx::",
    "dropout alone": r"[Pp]hilox|bernoulli",
    "AdamW": r"adamw_stretch",
    "embedding": r"embedding|index_add|index_select|gather",
    "bias gradients and other sums": r"_sum|sum_kernel|[Rr]educ",
    "loss": r"softmax|nll_loss",
    "zeroing": r"fill_kernel|memset",
    "other element-wise operations": r"add_kernel|mul_kernel|div_|VectorizedLoop|elementwise|sub_kernel",
    "copies": r"copy|memmove|memcpy",
    "waiting for threads": r"libgomp|libiomp|sched_yield|futex",
    "MPI": r"libmpi|libopen-pal|btl_|mca_",
    "page faults": r"clear_page|page_fault|_fault|folio|_pte|anonymous_page|mem_cgroup|zap_|unmap|rmqueue",
    "allocation": r"malloc|_int_free|cfree|consolidate|unlink_chunk|operator (new|delete)|posix_memalign|madvise",
    "other kernels of dtrain": r"kernels::\w+::\(anonymous",
    "dispatch and autograd": r"libtorch|libc10|dtrain::|libstdc|libc\.so|ld-linux",
    "kernel, the rest": r"\[kernel",
}


def operation_of(line: str) -> str:
    """The operation of a sampled line, or "other"."""
    for name, functions in KERNELS.items():
        if re.search(rf"kernels::\w+::(\(anonymous namespace\)::)?({'|'.join(functions)})\b", line):
            return name
    return next((name for name, pattern in OPERATIONS.items() if re.search(pattern, line)), "other")


def wait_for_steps(process: subprocess.Popen, log: Path) -> None:
    """Returns when the run has logged its first ten steps."""
    while not log.exists() or log.read_text().count("\n") < 10:
        if process.poll() is not None:
            raise SystemExit(
                f"dtrain ended before it trained: {process.stderr.read().decode() if process.stderr else ''}"
            )
        time.sleep(0.05)


def record(build: Path, options: argparse.Namespace) -> list[str]:
    """One "library symbol" line a sample."""
    with tempfile.TemporaryDirectory() as name:
        output, data = Path(name) / "run", Path(name) / "perf.data"
        command = [str(build / "dtrain"), "train", f"--method={options.method}", f"--precision={options.precision}"]
        command += [f"--threads={options.threads}", f"--batch-size={BATCH_SIZE}", "--device=cpu", "--log-steps=1"]
        command += [f"--output={output}"]
        # 2: oneDNN names its generated code in the map that perf reads.
        names = environment() | {"ONEDNN_JIT_PROFILE": "2"}
        process = subprocess.Popen(command, env=names, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_for_steps(process, output / "log.jsonl")
            attach = ["perf", "record", "--quiet", "-e", "cpu-clock", "-F", "999", "-p", str(process.pid), "-o", str(data)]
            subprocess.run([*attach, "--", "sleep", str(options.seconds)], check=True)
            process.kill()
            script = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso"]
            text = subprocess.run(script, check=True, capture_output=True, text=True).stdout
        finally:
            process.kill()
            process.wait()
            Path(f"/tmp/perf-{process.pid}.map").unlink(missing_ok=True)
    # "7f0123456789 symbol+arguments (/path/library)"
    lines = []
    for line in text.splitlines():
        match = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
        if match:
            lines.append(f"{Path(match[2]).name} {match[1]}")
    return lines


def main() -> None:
    """Profiles a run and prints the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--method", choices=METHODS, default="full", help="what trains")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="of the matmuls")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of the rank")
    parser.add_argument("--seconds", type=int, default=20, help="how long to sample")
    parser.add_argument("--symbols", type=int, default=0, help="also list so many symbols of each operation")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build tree")
    options = parser.parse_args()
    lines = record(options.build, options)
    shares = Counter(operation_of(line) for line in lines)
    rows = [[name, f"{count / len(lines):.1%}"] for name, count in shares.most_common()]
    print(f"{options.method}, {options.precision}, {options.threads} threads, {len(lines)} samples\n")
    print(markdown_table(["operation", "share of CPU time"], rows))
    for name, _ in shares.most_common() if options.symbols else []:
        print(f"\n{name}")
        for line, count in Counter(line for line in lines if operation_of(line) == name).most_common(options.symbols):
            print(f"  {count / len(lines):6.2%}  {line[:160]}")


if __name__ == "__main__":
    main()
