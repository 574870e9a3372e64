"""How fast this machine multiplies and moves, measured with LibTorch, which dtrain computes with."""

import time
from collections.abc import Callable

import torch

from step_work import Matmul, Work

LEAST_SECONDS = 0.1
LEAST_REPEATS = 3
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def least_seconds(action: Callable[[], object]) -> float:
    """Of several repeats, after one that is not timed."""
    action()
    least, begin, repeats = float("inf"), time.perf_counter(), 0
    while repeats < LEAST_REPEATS or time.perf_counter() - begin < LEAST_SECONDS:
        started = time.perf_counter()
        action()
        least = min(least, time.perf_counter() - started)
        repeats += 1
    return least


def ways(matmul: Matmul, dtype: torch.dtype) -> list[tuple[Callable[[], torch.Tensor], bool]]:
    """What computes it, and whether its result is transposed: by LibTorch's default, MKL or oneDNN, either way round;
    by oneDNN where it takes the shape."""
    rows = torch.randn(matmul.rows, matmul.inputs).to(dtype)
    weight = torch.randn(matmul.outputs, matmul.inputs).to(dtype)
    gradient = torch.randn(matmul.rows, matmul.outputs).to(dtype)
    left, right = {
        "forward": (rows, weight.t()),
        "input gradient": (gradient, weight),
        "weight gradient": (gradient.t(), rows),
    }[matmul.kind]

    def by_onednn() -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")

    found = [(lambda: left @ right, False), (lambda: right.t() @ left.t(), True)]
    try:
        by_onednn()
    except (AttributeError, RuntimeError):  # a LibTorch without oneDNN; a shape that it does not take
        return found
    return [*found, (by_onednn, False)]


class MachineRates:
    """Of one precision, on so many threads. What was measured once is kept."""

    def __init__(self, precision: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.type = TYPES[precision]
        self.flop_rates: dict[Matmul, float] = {}
        self.byte_rates: dict[int, float] = {}

    def flop_rate(self, matmul: Matmul) -> float:
        """FLOP/s of the fastest way."""
        if matmul not in self.flop_rates:
            with torch.inference_mode():
                seconds = min(least_seconds(way) for way, _ in ways(matmul, self.type))
            self.flop_rates[matmul] = matmul.flop() / seconds
        return self.flop_rates[matmul]

    def rate_of(self, works: list[Work]) -> float:
        """FLOP/s of all of these matmuls, one after the other."""
        flop = sum(work.times * work.flop for work in works)
        return flop / sum(work.times * work.flop / self.flop_rate(work.like) for work in works if work.like)

    def byte_rate(self, size: float) -> float:
        """Bytes/s that are read and written copying half of so many to the other half.

        Measured at the power of two that is not above them: what is larger may fit a cache less well.
        """
        key = max(1 << 16, 1 << (round(size).bit_length() - 1))
        if key not in self.byte_rates:
            source = torch.zeros(key // 8)
            target = torch.zeros_like(source)
            repeats = max(1, (1 << 26) // key)  # enough for the clock

            def copy() -> None:
                for _ in range(repeats):
                    target.copy_(source)

            self.byte_rates[key] = repeats * 8 * source.numel() / least_seconds(copy)
        return self.byte_rates[key]

    def measured(self) -> dict[str, dict]:
        """All rates, by what they are of."""
        matmuls = {f"{m.kind} of {m.rows} rows, {m.inputs} to {m.outputs}": r for m, r in self.flop_rates.items()}
        return {"flop_per_second": matmuls, "bytes_per_second": self.byte_rates}

    def seconds(self, work: Work) -> float:
        """What it takes at least, in the way that takes less: computing and moving may go on at once."""
        computing = work.flop / self.flop_rate(work.like) if work.like else 0.0
        moving = work.bytes / self.byte_rate(work.working_set) if work.bytes else 0.0
        own = work.times * max(computing, moving)
        return own if work.instead is None else min(own, self.seconds(work.instead))
