"""Data files as people have them, from the command line: read rightly, or refused with what to do."""

import csv
import json

import pytest

from conftest import results

TEXTS = [f"{article} {adjective} {noun} , {end}" for article in ("a", "the", "our") for adjective in ("warm", "cold", "slow", "tidy")
         for noun, end in (("lamp", "as ever"), ("kettle", "truly so"))]
LABELS = [("pos", "neg")[index % 2] for index in range(len(TEXTS))]
ROWS = list(zip(TEXTS, LABELS))


def write(path, lines, end="\n"):
    path.write_bytes("".join(line + end for line in lines).encode())
    return path.name


def train(tiny_model, name, *options):
    return ["train", "--model", tiny_model, "--max-length", "16", "--max-steps", "1", "--token-cache", "none",
            "--method", "head", "--train", name, *options]


def classes(output):
    return list(results(output)["metrics"]["dev"]["classes"])


def trains_on(dtrain, tiny_model, name, *options, columns, found=("neg", "pos")):
    """It trains on the classes that are expected, and says which columns it took."""
    ended = dtrain.succeeds(*train(tiny_model, name, *options, "--output", "out", "--overwrite"))
    assert f"columns: {columns}\n" in ended.out, ended
    assert results(dtrain.folder / "out")["columns"] == columns
    assert classes(dtrain.folder / "out") == list(found)
    return ended


# Files without a header, or with one of other names.

FOUR = [f"src{index % 3}\t{int(label == 'pos')}\t\t{text}" for index, (text, label) in enumerate(ROWS)]


def test_four_columns_without_a_header_are_refused_or_chosen_by_number(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "cola.tsv", FOUR)
    dtrain.refuses(*train(tiny_model, name), code=3,
                   says=["cola.tsv: 4 columns and no header", "--label-column 2 --text-column 4", "line 1: [1] src0  [2] 1"])
    trains_on(dtrain, tiny_model, name, "--text-column", "4", "--label-column", "2", found=("0", "1"),
              columns="text: column 4, label: column 2; not read: column 1, column 3")


def test_a_header_of_other_names_does_not_become_a_class(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "review.tsv", ["Review\tLiked", *(f"{text}\t{int(label == 'pos')}" for text, label in ROWS)])
    dtrain.refuses(*train(tiny_model, name), code=3,
                   says=["is that the label column?", "label 'Review', text 'Liked'", "label 'a warm lamp , as ever'"])
    by_number = ["--text-column", "1", "--label-column", "2"]
    dtrain.refuses(*train(tiny_model, name, *by_number), code=3, says=["review.tsv:1: this line looks like a header"])
    for options in (["--text-column", "Review", "--label-column", "Liked"], [*by_number, "--header", "yes"]):
        trains_on(dtrain, tiny_model, name, *options, columns="text: Review, label: Liked", found=("0", "1"))
    other = write(tmp_path / "liked.tsv", ["Liked\tReview", *(f"{label}\t{text}" for text, label in ROWS)])
    dtrain.refuses(*train(tiny_model, other), code=3, says=["liked.tsv:1: this line looks like a header", "--header no"])


def test_texts_before_labels_are_doubted(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "first.tsv", [f"{text}\t{label}" for text, label in ROWS])
    dtrain.refuses(*train(tiny_model, name), code=3, says=["24 different labels in 24 rows: is that the label column?"])
    trains_on(dtrain, tiny_model, name, "--label-column", "2", columns="text: column 1, label: column 2")
    ended = dtrain.succeeds("inspect", name)
    assert "is that the label column?" in ended.err and "columns: text: column 2, label: column 1" in ended.out, ended


def test_inputs_of_which_most_labels_are_no_classes_are_doubted(dtrain, tiny_model, tmp_path):
    write(tmp_path / "train.tsv", ["label\ttext", *(f"{label}\t{text}" for text, label in ROWS)])
    dtrain.succeeds(*train(tiny_model, "train.tsv", "--output", "out"))
    name = write(tmp_path / "inputs.tsv", [f"{text}\t{label}" for text, label in ROWS])
    given = ["predict", "--run", "out", "--input", name, "--max-length", "16", "--output", "predicted"]
    dtrain.refuses(*given, code=3, says=["none of the classes: is that the label column?"])
    dtrain.succeeds(*given, "--text-column", "1")


# Formats.

def test_quoted_tab_separated_files_are_read_as_quoted(dtrain, tiny_model, tmp_path):
    texts = [text if index % 3 else f'she said "{text}"\ttwice' for index, text in enumerate(TEXTS)]
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL):
        with open(tmp_path / "quoted.tsv", "w", newline="") as file:
            csv.writer(file, delimiter="\t", quoting=quoting).writerows([("text", "label"), *zip(texts, LABELS)])
        trains_on(dtrain, tiny_model, "quoted.tsv", columns="text: text, label: label")
    with open(tmp_path / "quoted.tsv", "a") as file:
        file.write('"a stray quote\tpos\n')
    dtrain.refuses(*train(tiny_model, "quoted.tsv"), code=3,
                   says=["quoted.tsv:26:1: this field begins with a quote and is not quoted as CSV is, which line 2 is"])
    write(tmp_path / "raw.tsv", ["text\tlabel", *(f'"{text}" is "it"\t{label}' for text, label in ROWS)])
    shown = dtrain.succeeds("inspect", "raw.tsv").out
    assert '"a warm lamp , as ever" is "it"' in shown and "tab-separated\n" in shown, shown


def test_a_quoted_header_over_broken_quotes_is_refused_with_the_place(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "r.tsv", ['"text"\t"label"', *(f'"{text}"\t"{label}"' for text, label in ROWS), '"a \\"b" c"\t"pos"'])
    dtrain.refuses(*train(tiny_model, name), code=3, says="r.tsv:26:6: expected a tab or a line end after the closing quote")


def test_semicolons_of_a_spreadsheet_are_found_or_named(dtrain, tiny_model, tmp_path):
    lines = ["\ufefftext;label", *(f'"{text.replace(",", ";")}";{label}' for text, label in ROWS)]
    ended = trains_on(dtrain, tiny_model, write(tmp_path / "excel.csv", lines, "\r\n"), columns="text: text, label: label")
    assert "warning: excel.csv" not in ended.err, ended
    odd = write(tmp_path / "odd.txt", ["text^label", *(f"{text}^{label}" for text, label in ROWS)])
    dtrain.refuses(*train(tiny_model, odd), code=3, says=["odd.txt:1: one column", "--separator"])
    trains_on(dtrain, tiny_model, odd, "--separator", "^", columns="text: text, label: label")
    dtrain.refuses(*train(tiny_model, odd, "--separator", "x"), code=2, says=["--separator: expected punctuation", "'x'"])
    assert "separator = ^" in (tmp_path / "out" / "config.ini").read_text()


def test_json_arrays_and_lines_are_read_under_either_ending(dtrain, tiny_model, tmp_path):
    objects = [{"text": text, "label": label} for text, label in ROWS]
    for name in ("rows.json", "rows.jsonl"):
        for content in (json.dumps(objects, indent=1), json.dumps({"data": objects}), "\n".join(map(json.dumps, objects))):
            (tmp_path / name).write_text(content)
            trains_on(dtrain, tiny_model, name, columns="text: text, label: label")
    (tmp_path / "columns.json").write_text(json.dumps({"text": dict(enumerate(TEXTS)), "label": dict(enumerate(LABELS))}))
    dtrain.refuses(*train(tiny_model, "columns.json"), code=3, says=["columns.json: one JSON object", "orient='records'"])


def test_parquet_is_refused_with_its_conversion(dtrain, tiny_model, tmp_path):
    (tmp_path / "data.parquet").write_bytes(b"PAR1xxxxPAR1")
    dtrain.refuses(*train(tiny_model, "data.parquet"), code=3,
                   says=["data.parquet: a Parquet file", "pandas.read_parquet('data.parquet').to_json('data.jsonl'"])


def test_carriage_returns_end_lines(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "mac.tsv", ["text\tlabel", *map("\t".join, ROWS)], "\r")
    trains_on(dtrain, tiny_model, name, columns="text: text, label: label")


def test_a_list_in_a_message_has_an_end(dtrain, tiny_model, tmp_path):
    name = write(tmp_path / "wide.csv", [",".join(f"{'x' * 500}{index}" for index in range(2000))] * 2)
    ended = dtrain.refuses(*train(tiny_model, name), code=3, says=["no column named text", "... and 1990 more"])
    assert len(ended.err) < 2000, ended
    write(tmp_path / "train.tsv", ["label\ttext", *(f"class{index % 30:02}\ta text" for index in range(60))])
    write(tmp_path / "dev.tsv", ["label\ttext", "\N{SNOWMAN}" * 500 + "\ta text"])
    ended = dtrain.refuses(*train(tiny_model, "train.tsv", "--dev", "dev.tsv"), code=3,
                           says=["none of the 30 classes", "class08, class09 and 20 more"])
    assert len(ended.err) < 2000, ended


# Columns.

def test_question_and_sentence_are_a_pair(dtrain, tiny_model, tmp_path):
    lines = [f"{index}\twas it {index % 5}\t{text}\t{label}" for index, (text, label) in enumerate(ROWS)]
    name = write(tmp_path / "qnli.tsv", ["index\tquestion\tsentence\tlabel", *lines])
    trains_on(dtrain, tiny_model, name, columns="text: question, pair: sentence, label: label; not read: index")
    trains_on(dtrain, tiny_model, name, "--text-column", "question", "--pair-column", "none",
              columns="text: question, label: label; not read: index, sentence")
    shown = dtrain.succeeds("inspect", name)
    assert "24 rows, text pairs, labelled, tab-separated" in shown.out, shown
    assert "line  label  text      pair\n" in shown.out and "was it 1  a warm kettle , truly so" in shown.out, shown


def test_a_score_is_found_by_the_option(dtrain, tmp_path):
    lines = [f"{index}\t{text}\t{text}\t{index / 5:.3f}" for index, text in enumerate(TEXTS)]
    name = write(tmp_path / "sts.tsv", ["index\tsentence1\tsentence2\tscore", *lines])
    shown = dtrain.succeeds("inspect", name, "--label-column", "score")
    assert "columns: text: sentence1, pair: sentence2, label: score; not read: index" in shown.out, shown
    assert "warning" not in shown.err, shown


# Labels.

def test_blanks_around_labels_are_no_part_of_them_and_case_is_noted(dtrain, tiny_model, tmp_path):
    labels = [label + " " * (index % 4 == 0) if index else "POS" for index, label in enumerate(LABELS)]
    name = write(tmp_path / "blanks.csv", ["text,label", *(f'"{text}",{label}' for text, label in zip(TEXTS, labels))], "\r\n")
    ended = trains_on(dtrain, tiny_model, name, columns="text: text, label: label", found=("POS", "neg", "pos"))
    assert "labels that differ by case only are kept apart: 'POS' (1 row) and 'pos' (11 rows)" in ended.err, ended


def test_a_label_that_stands_for_none_is_noted_or_left_out(dtrain, tiny_model, tmp_path):
    for name, rows in (("snli.jsonl", ROWS), ("dev.jsonl", ROWS[:12])):
        write(tmp_path / name, [json.dumps({"gold_label": "-" if index % 6 == 0 else label, "sentence1": text, "sentence2": text,
                                            "annotator_labels": [label]}) for index, (text, label) in enumerate(rows)])
    columns = "text: sentence1, pair: sentence2, label: gold_label; not read: annotator_labels"
    ended = trains_on(dtrain, tiny_model, "snli.jsonl", columns=columns, found=("-", "neg", "pos"))
    assert "snli.jsonl: 4 rows with the label '-'; --ignore-label - leaves such rows out" in ended.err, ended
    ended = trains_on(dtrain, tiny_model, "snli.jsonl", "--dev", "dev.jsonl", "--ignore-label", "-", columns=columns)
    for note in ("snli.jsonl: 4 rows left out for their label (--ignore-label -)", "dev.jsonl: 2 rows left out"):
        assert note in ended.err and any(note in said for said in results(tmp_path / "out")["notes"]), ended
    # As the run's own configuration says it again.
    again = dtrain.succeeds("train", "--config", "out/config.ini", "--output", "again")
    assert "4 rows left out" in again.err, again


def test_lists_of_labels_are_shown_with_how_many_rows_have_each(dtrain, tmp_path):
    labels = [["late"], ["late", "rude", "late"], []]
    write(tmp_path / "multi.jsonl", [json.dumps({"text": text, "label": labels[index % 3]}) for index, text in enumerate(TEXTS)])
    write(tmp_path / "multi.csv", ["text,label", *(f'"{text}",{"|".join(labels[index % 3])}' for index, text in enumerate(TEXTS))])
    for options in (["multi.jsonl"], ["multi.csv", "--label-separator", "bar"]):
        shown = dtrain.succeeds("inspect", *options)
        assert "24 rows, single texts, lists of labels" in shown.out, shown
        for line in ("late              16  66.67 %", "rude               8  33.33 %", "(none of them)     8  33.33 %"):
            assert line in shown.out, shown
    with open(tmp_path / "multi.jsonl", "a") as file:
        file.write('{"text": "one", "label": "late"}\n')
    dtrain.refuses("inspect", "multi.jsonl", code=3,
                   says="multi.jsonl:25: expected a list of labels, as multi.jsonl:1 has, found a single label")


def test_equal_numbers_are_one_label(dtrain, tiny_model, tmp_path):
    write(tmp_path / "int.csv", ["text,label", *(f'"{text}",{int(label == "pos")}' for text, label in ROWS)])
    write(tmp_path / "float.csv", ["text,label", *(f'"{text}",{float(label == "pos")}' for text, label in ROWS)])
    trains_on(dtrain, tiny_model, "int.csv", "--dev", "float.csv", columns="text: text, label: label", found=("0", "1"))
    write(tmp_path / "other.csv", ["text,label", '"one",2.0'])
    dtrain.refuses(*train(tiny_model, "int.csv", "--dev", "other.csv"), code=3,
                   says=["other.csv:2: the label '2.0' is none of the 2 classes", "there are: 0, 1"])
