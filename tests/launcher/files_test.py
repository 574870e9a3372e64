"""Data files that are not what they should be: exit code 3 and the place, or a warning that counts what was done."""

import pytest

from conftest import results, write_tsv

GOOD = [("plant", "an oak"), ("tool", "a saw"), ("plant", "a rose"), ("tool", "a drill")] * 5
STEPS = ["--max-steps", "2"]


def train_on(tiny_model, path):
    return ["train", "--model", tiny_model, "--max-length", "32", "--train", path, *STEPS]


@pytest.mark.parametrize("name, content, says", [
    ("absent.tsv", None, ["absent.tsv", "No such file"]),
    ("empty.tsv", b"", ["empty.tsv", "empty"]),
    ("blank.tsv", b"\n\n  \n", ["blank.tsv", "empty"]),
    ("header.tsv", b"label\ttext\n", ["header.tsv", "no rows below the header"]),
    ("binary.tsv", b"\x7fELF\x02\x01\x01\x00\x00\x00junk\n", ["binary.tsv:1", "NUL byte", "binary"]),
    ("cut.csv", b'label,text\na,"one\ntwo', ["cut.csv:2:3", "quote is never closed", "complete?"]),
    ("cut.jsonl", b'{"label": "a", "text": "x"}\n{"label": "b", "te', ["cut.jsonl:2", "complete?"]),
    ("narrow.tsv", b"label\ttext\na\tone\nb\nc\tthree\n", ["narrow.tsv:3", "expected at least 2 columns, found 1"]),
    ("unlabelled.tsv", b"label\ttext\na\tone\n\ttwo\n", ["unlabelled.tsv:3", "the label (column 1) is empty"]),
    ("columns.csv", b"class,comment\na,b\n", ["columns.csv", "--text-column", "class, comment"]),
    ("one.tsv", b"label\ttext\na\tone\na\ttwo\n", ["one.tsv", "at least two classes, found 1 ('a')"]),
    ("data.xlsx", b"x", ["data.xlsx", "spreadsheet", "save the sheet as CSV in UTF-8"]),
    ("data.doc", b"x", ["data.doc", ".tsv", ".csv", ".jsonl"]),
])
def test_a_training_file_that_cannot_be_used_is_refused_with_its_place(dtrain, tiny_model, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    dtrain.refuses(*train_on(tiny_model, name), "--output", "out", code=3, says=says)


def test_a_directory_in_place_of_a_file_is_refused(dtrain, tiny_model, tmp_path):
    (tmp_path / "folder.tsv").mkdir()
    dtrain.refuses(*train_on(tiny_model, "folder.tsv"), code=3, says="folder.tsv")


def test_an_unknown_label_of_the_test_file_is_named_with_the_nearest_or_dropped_and_counted(dtrain, tiny_model, tmp_path):
    write_tsv(tmp_path / "train.tsv", GOOD)
    write_tsv(tmp_path / "test.tsv", [("plant", "a fern"), ("plent", "a pine"), ("tool", "an axe")])
    given = [*train_on(tiny_model, "train.tsv"), "--test", "test.tsv"]
    dtrain.refuses(*given, code=3, says=["test.tsv:3", "'plent'", "did you mean 'plant'?", "--drop-unknown-labels"])
    ended = dtrain.succeeds(*given, "--drop-unknown-labels")
    assert "warning: test.tsv: 1 row with unknown labels dropped" in ended.err, ended


def test_what_is_odd_in_the_data_is_counted_and_said(dtrain, tiny_model, tmp_path):
    lines = [*GOOD, ("rare", "a word"), ("tool", "\x01\x02"), ("tool", "an axe " * 40)]
    write_tsv(tmp_path / "train.tsv", lines)
    write_tsv(tmp_path / "test.tsv", [("plant", "an oak"), ("tool", "a plane")])
    with open(tmp_path / "train.tsv", "ab") as file:
        file.write(b"tool\ta \xff file\n")
    ended = dtrain.succeeds(*train_on(tiny_model, "train.tsv"), "--test", "test.tsv")
    for warning in ("train.tsv: 16 duplicate rows (kept)",
                    "train.tsv: 1 of 3 classes occur only once: rare",
                    "train.tsv: 1 row without a visible character (kept)",
                    "train.tsv: 1 text cut to 32 tokens (--max-length)",
                    "train.tsv:25:8: invalid UTF-8, replaced by U+FFFD (1 line in all)",
                    "test.tsv: 1 text also in the training file",
                    "no --dev file: "):
        assert f"warning: {warning}" in ended.err, (warning, ended)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_the_classes_that_a_subset_lacks_or_has_once_are_said(dtrain, task, tmp_path, command):
    options = [command, *task, "--max-steps", "2", "--samples", "2", "--output", "out"]
    options += ["--method", "head"] if command == "train" else ["--methods", "head", "--seeds", "2", "--lrs", "0.01"]
    ended = dtrain.succeeds(*options)
    for note in ("--samples 2: 1 of 3 classes are missing: tool", "--samples 2: 2 of 3 classes occur only once: animal, plant"):
        assert ended.err.count(f"warning: {note}") == 1, ended
        assert note in results(tmp_path / "out")["notes"]


def test_texts_that_the_held_out_part_shares_with_the_rest_are_counted(dtrain, tiny_model, tmp_path):
    write_tsv(tmp_path / "train.tsv", GOOD)
    ended = dtrain.succeeds(*train_on(tiny_model, "train.tsv"), "--output", "out")
    assert "warning: 10 held-out texts also in the rest of the training file" in ended.err, ended
    assert "10 held-out texts also in the rest of the training file" in results(tmp_path / "out")["notes"]


def test_a_text_of_ten_megabytes_on_one_line_is_cut_and_said(dtrain, tiny_model, tmp_path):
    write_tsv(tmp_path / "train.tsv", [*GOOD, ("plant", "moss " * 2_000_000)])
    ended = dtrain.succeeds(*train_on(tiny_model, "train.tsv"))
    assert "1 text cut to 32 tokens" in ended.err, ended
    assert ended.seconds < 30


def test_a_damaged_token_cache_is_made_anew(dtrain, tiny_model, tmp_path):
    write_tsv(tmp_path / "train.tsv", GOOD)
    run = [*train_on(tiny_model, "train.tsv"), "--token-cache", tmp_path / "tokens"]
    clean = dtrain.succeeds(*run, "--output", "first")
    assert "damaged" not in clean.err
    [cached] = (tmp_path / "tokens").glob("*.tokens")
    whole = cached.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        cached.write_bytes(torn)
        ended = dtrain.succeeds(*run, "--output", "again", "--overwrite")
        assert "is damaged; tokenizing again" in ended.err, ended
        assert cached.read_bytes() == whole
        model = "model/model.safetensors"
        assert (tmp_path / "first" / model).read_bytes() == (tmp_path / "again" / model).read_bytes()


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_command_that_failed_on_its_data_can_be_given_again(dtrain, task, tmp_path, command):
    options = [command, *task, "--max-steps", "2", "--output", "out"]
    options += ["--method", "head"] if command == "train" else ["--methods", "head", "--seeds", "1", "--lrs", "0.01"]
    dtrain.refuses(*options, "--ood", "web=typo.tsv", code=3, says="typo.tsv")
    dtrain.succeeds(*options)
