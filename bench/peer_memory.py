"""The most memory that the peer takes, by the rule of train/peak_memory.h."""

import ctypes
from pathlib import Path

import torch


def status_bytes(name: str) -> int:
    """Of this process, proc(5): VmRSS now, of that pages of files RssFile, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """train/peak_memory.h: the weights of the model, and what a run holds besides at its peak."""

    def __init__(self, model: torch.nn.Module, device: str) -> None:
        self.cuda = device == "cuda"
        self.weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            # 5 sets the high-water mark back to the present resident set.
            Path("/proc/self/clear_refs").write_text("5")
        self.before = torch.cuda.memory_allocated() if self.cuda else status_bytes("VmRSS")
        self.files = 0 if self.cuda else status_bytes("RssFile")

    def bytes(self) -> int:
        """So far."""
        if self.cuda:
            return self.weights + max(0, torch.cuda.max_memory_allocated() - self.before)
        files = max(0, status_bytes("RssFile") - self.files)
        return self.weights + max(0, status_bytes("VmHWM") - files - self.before)
