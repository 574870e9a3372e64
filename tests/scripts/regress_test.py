"""bench/regress.py with a stand-in for valgrind: what it starts, which profiles it adds up, and what it makes of the sum."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import regress  # noqa: E402

PROGRAM = pathlib.Path(os.environ["DTRAIN_TEST_PROGRAM"])

# Leaves the profiles of 12 steps and of what follows them; a step after the warm-up takes a tenth of $COUNT.
VALGRIND = """#!/bin/bash
printf '%s\\n' "$@" >"$CALLED"
for given; do case $given in --callgrind-out-file=*) file=${given#*=};; esac; done
[ -z "$FAILS" ] || { echo "it fails"; exit 3; }
for step in 1 2; do echo "summary: 7777" >"$file.$step"; done
for step in 3 4 5 6 7 8 9 10 11 12; do printf 'events: Ir\\ntotals: %s\\n' $((COUNT / 10)) >"$file.$step"; done
echo "totals: 0" >"$file"
nm -D --defined-only "${LD_LIBRARY_PATH%%:*}/libtorch_cuda.so" >"$CALLED.symbols"
"""


@pytest.fixture
def guard(tmp_path, monkeypatch):
    """regress.py's main on a cell that is expected to take 1,000,000 instructions."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "valgrind").write_text(VALGRIND)
    (tools / "valgrind").chmod(0o755)
    (tmp_path / "instructions.json").write_text(json.dumps({"lora 17": 1_000_000, "head 17": 5}))
    monkeypatch.setattr(regress, "EXPECTED", tmp_path / "instructions.json")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    monkeypatch.setenv("FAILS", "")

    def run(count, *arguments, lengths="17"):
        monkeypatch.setenv("COUNT", str(count))
        given = ["regress.py", "--build", str(PROGRAM.parent), "--methods", "lora", "--lengths", lengths, *arguments]
        monkeypatch.setattr(sys, "argv", given)
        regress.main()

    return run


def test_ten_steps_after_the_warm_up_are_compared(guard, capsys, tmp_path):
    guard(1_029_000)
    assert "| lora 17 | 1,029,000 | 1,000,000 | +2.9% |  |" in capsys.readouterr().out
    assert (tmp_path / "called.symbols").read_text() == ""


def test_more_than_three_per_cent_above_fail(guard, capsys):
    with pytest.raises(SystemExit, match="more than 3% above what was expected: lora 17"):
        guard(1_031_000)
    assert "| +3.1% | slower |" in capsys.readouterr().out


def test_a_count_that_fell_is_told(guard, capsys):
    guard(969_000)
    assert "| -3.1% | faster |" in capsys.readouterr().out


def test_a_cell_that_nothing_is_expected_of_is_new_and_fails(guard, capsys, tmp_path):
    with pytest.raises(SystemExit, match="instructions.json has no count of lora 128: --update writes it"):
        guard(500, lengths="128")
    assert "| lora 128 | 500 |  |  | new |" in capsys.readouterr().out
    assert "lora 128" not in json.loads((tmp_path / "instructions.json").read_text())


def test_counts_are_updated_when_that_is_asked(guard, tmp_path):
    guard(2_000_000, "--update")
    assert json.loads((tmp_path / "instructions.json").read_text()) == {"lora 17": 2_000_000, "head 17": 5}


def test_a_run_that_fails_is_said(guard, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(SystemExit, match="it fails\ndtrain under callgrind ended with exit code 3"):
        guard(1)


def test_fewer_steps_than_were_asked_for_are_refused():
    with pytest.raises(SystemExit, match="expected a profile of each of 12 steps, found 3"):
        regress.instructions_of(["totals: 5\n"] * 3)


def test_dtrain_has_the_options(guard, tmp_path):
    guard(1_000_000)
    given = (tmp_path / "called").read_text().splitlines()
    asked = {word.split("=")[0] for word in given[given.index("train") :] if word.startswith("--")}
    text = subprocess.run([PROGRAM, "train", "--help"], capture_output=True, text=True, check=True).stdout
    assert asked and asked <= set(re.findall(r"^ *(--[\w-]+)", text, re.M))


def test_what_is_counted_are_functions_of_the_program():
    listing = subprocess.run(["nm", "--demangle", "--defined-only", PROGRAM], check=True, capture_output=True, text=True)
    for name in regress.COUNTED:
        assert re.search(rf"^[0-9a-f]+ [tT] {re.escape(name)}$", listing.stdout, re.M), name


def test_what_is_expected_is_of_cells_that_are_counted():
    cells = json.loads((ROOT / "bench" / "instructions.json").read_text())
    assert set(cells) <= {f"{method} {tokens}" for method in regress.METHODS for tokens in regress.BATCHES}
