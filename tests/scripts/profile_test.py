"""bench/profile_step.py against the symbols of the program: every kernel is counted as the operation that it is."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from profile_step import KERNELS, operation_of  # noqa: E402

LOOPS = (ROOT / "model" / "kernels" / "loops.h").read_text(encoding="utf-8")
NAMES = re.findall(r"\(\*(\w+)\)\(", LOOPS[LOOPS.index("struct Loops"):])


@pytest.fixture(scope="module")
def symbols():
    """The functions of the kernels, without arguments, as perf names them."""
    listing = subprocess.run(["nm", "--demangle", "--defined-only", os.environ["DTRAIN_TEST_PROGRAM"]], check=True,
                             capture_output=True, text=True).stdout
    found = re.findall(r"^[0-9a-f]+ [tT] .*?(dtrain::model::kernels::\w+::(?:\(anonymous namespace\)::)?[\w:]+)", listing, re.M)
    assert found, "the program has no symbols"
    return set(found)


def test_the_kernels_are_those_of_the_table():
    assert len(NAMES) > 5
    assert sorted(NAMES) == sorted(name for names in KERNELS.values() for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_is_counted_as_its_operation(symbols, name):
    own = [symbol for symbol in symbols if symbol.endswith("::" + name)]
    assert own, f"the program has no function of that name: {sorted(symbols)}"
    for symbol in own:
        assert name in KERNELS.get(operation_of(f"dtrain {symbol}<float, float>"), ())
