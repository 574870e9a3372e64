"""What a command cannot do with its options: exit code 2, and one message that says what was expected and found."""

import pathlib
import re

import pytest


@pytest.mark.parametrize("arguments, says", [
    (["trian"], ["unknown command 'trian'", "did you mean 'train'?", "evaluate"]),
    (["train", "--lr", "nan"], ["--lr: expected a number above 0, found 'nan'"]),
    (["train", "--samples", "100,200"], ["train takes one number; compare takes a list"]),
    (["train", "--task", "wordnot"], ["unknown task 'wordnot'", "did you mean 'wordnet'?"]),
    (["train", "--resume"], ["--output"]),
    (["bench", "gem"], ["bench: expected one of gemm, step, forward, allreduce, norm, scaling", "did you mean 'gemm'?"]),
    (["inspect"], ["inspect: expected a model, an adapter, a run's output or a data file"]),
    (["predict", "--run", "x", "--input", "y"], ["--output: expected a directory"]),
    (["predict", "--run", "x", "--output", "y"], ["--input: expected a file"]),
    (["evaluate"], ["--run: expected the output of a run, a model or an adapter"]),
])
def test_a_command_says_what_it_needs(dtrain, arguments, says):
    dtrain.refuses(*arguments, code=2, says=says)


@pytest.mark.parametrize("arguments, says", [
    (["--backend", "nccl"], "--backend nccl serves GPUs"),
    (["--max-length", "65"], ["--max-length 65 is more than the 64 positions of the model"]),
    (["--method", "prompt:num_virtual_tokens=40"],
     ["is more than the 64 positions of the model", "virtual tokens take 40; --max-length 24 fits"]),
    (["--samples", "121"], ["--samples 121 is more than the 120 training examples"]),
    (["--method", "layers:k=3"], ["k is 3, but the model has 2 layers"]),
])
def test_what_the_machine_the_model_or_the_data_cannot_give_is_refused(dtrain, task, arguments, says):
    given = [option for option in task if option not in ("--max-length", "32")] if "--max-length" in arguments else task
    dtrain.refuses("train", *given, "--device", "cpu", *arguments, code=2, says=says)


@pytest.mark.parametrize("ranks, arguments, says", [
    (4, ["--samples", "3"], "4 ranks, but only 3 training examples"),
    (2, ["--virtual-ranks", "3"], "--virtual-ranks 3 must be a multiple of the number of ranks, 2"),
    (2, ["--backend", "single"], "--backend single serves one rank"),
    (4, ["--lr", "0"], "--lr: expected a number above 0, found '0'"),
])
def test_what_the_ranks_cannot_do_is_refused_by_one_message(dtrain, task, ranks, arguments, says):
    dtrain.refuses("train", *task, *arguments, "--device", "cpu", ranks=ranks, code=2, says=says)


ROOT = pathlib.Path(__file__).resolve().parents[2]


def documented_commands():
    """Of the README and docs/: (file, command, options)."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = re.sub(r"\\\n\s*", "", path.read_text())
        for match in re.finditer(r"(?:^|[\s`/])dtrain((?: [^\s`|;#&()]+)+)", text, re.M):
            words = match[1].split()
            options = [re.match(r"--[a-z-]+", word)[0] for word in words if re.match(r"--[a-z]", word)]
            if options:
                yield path.name, words[0] if re.fullmatch("[a-z]+", words[0]) else "compare", options


def test_every_option_that_the_documentation_gives_a_command_is_one_of_it(dtrain):
    helps = {}
    unknown = []
    found = list(documented_commands())
    for file, command, options in found:
        if command not in helps:
            helps[command] = dtrain.succeeds(command, "--help").out
        unknown += [(file, command, option) for option in options
                    if option not in ("--help", "--version") and not re.search(rf"^ +{option}\b", helps[command], re.M)]
    assert unknown == []
    assert len(found) > 30 and {"train", "compare", "evaluate", "diagnose", "report", "bench"} <= set(helps)
