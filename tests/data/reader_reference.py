#!/usr/bin/env python3
"""Writes TSV, CSV and JSON files of random content and what Python's csv and json modules read in them.

reader_reference.py OUTPUT

OUTPUT/N.KIND of each kind below, and beside each a file N.KIND.reference for reader_parity_test.cpp: numbers of 32 bits
(rows; for each its fields), a text as its size in bytes and UTF-8. Kinds: csv; tsv, quoted as csv's and pandas' writers
quote (the same rules); txt, tab-separated and never quoted, texts that begin with quotes among them; separated, with any
separator and a header; jsonl and json, lines or arrays.
"""

import csv
import json
import random
import shutil
import struct
import sys
from pathlib import Path

FILES = 150
PIECES = ['"', '""', ",", "\n", "\r\n", "\r", "\t", " ", "a", "wort", "é", "中", "😀", "'", ";", "\\", "\u2028", "x y"]


def text_bytes(text):
    encoded = text.encode()
    return struct.pack("<i", len(encoded)) + encoded


def write_reference(path, rows):
    with open(path, "wb") as out:
        out.write(struct.pack("<i", len(rows)))
        for row in rows:
            out.write(struct.pack("<i", len(row)) + b"".join(map(text_bytes, row)))


def rows_in(path, **options):
    """A line of nothing but spaces is blank to dtrain, a row to Python."""
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.reader(file, **options) if "".join(row).strip(" ") or len(row) > 1]


def field():
    return "".join(random.choice(PIECES) for _ in range(random.choice([0, 0, 1, 2, 3, 8])))


def write_csv(path):
    columns = random.randint(1, 5)
    end = random.choice(["\n", "\r\n"])
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator=end, quoting=random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        for _ in range(random.randint(1, 12)):
            if random.random() < 0.1:
                out.write(end)
            row = [field() for _ in range(columns)]
            if row[0].strip(" ") == "":
                row[0] = "first"  # a line of spaces is blank here, a row there
            writer.writerow(row)
        if random.random() < 0.3:
            out.write("no,line,end,\"here\"")
    return rows_in(path, strict=True)


def write_quoted_tsv(path):
    columns = random.randint(2, 5)
    quoting = random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter="\t", lineterminator=random.choice(["\n", "\r\n", "\r"]), quoting=quoting)
        writer.writerow([f"name {number}" for number in range(columns)])
        for _ in range(random.randint(1, 12)):
            writer.writerow([field() for _ in range(columns - 1)] + [random.choice([1, 0.5, "x"])])
    return rows_in(path, delimiter="\t", strict=True)


def raw_field():
    """Of a file without quotes; but no field that could only be a quoted one."""
    text = field().translate({ord(byte): " " for byte in "\t\r\n"})
    return "x" + text if text.startswith('"') and text.endswith('"') and '""' in text else text


def write_raw_tsv(path):
    columns = random.randint(2, 5)
    # A text that no writer of quotes leaves as it is says that the file has none.
    rows = [["label", *(f"text {number}" for number in range(columns - 1))], ["first", *['say "so"'] * (columns - 1)]]
    rows += [["x", *(raw_field() for _ in range(columns - 1))] for _ in range(random.randint(1, 12))]
    with open(path, "w", newline="", encoding="utf-8") as out:
        for row in rows:
            out.write("\t".join(row) + random.choice(["\n", "\r\n", "\r"]))
    return rows_in(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def write_separated(path):
    columns = random.randint(2, 5)
    separator = random.choice(",;\t|")
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=separator, quoting=random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        writer.writerow(["label", *(f"text {number}" for number in range(columns - 1))])
        for _ in range(random.randint(1, 12)):
            writer.writerow(["x", *(field() for _ in range(columns - 1))])
    return rows_in(path, delimiter=separator, strict=True)


def value():
    kind = random.random()
    if kind < 0.7:
        return field()
    return random.choice([0, -7, 123456789, True, False, None, 0.5, 2**63])


def write_jsonl(path):
    names = random.sample(["text", "label", "idx", "näme", "a b"], random.randint(1, 5))
    with open(path, "w", newline="", encoding="utf-8") as out:
        for _ in range(random.randint(1, 12)):
            row = {name: value() for name in names}
            out.write(json.dumps(row, ensure_ascii=random.random() < 0.5) + random.choice(["\n", "\r\n", "\n\n"]))
    rows = []
    with open(path, newline="\n", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                rows.append([as_text(v) for _, v in sorted(json.loads(line).items())])
    return [sorted(names)] + rows


def write_json(path):
    names = random.sample(["text", "label", "idx", "näme", "a b"], random.randint(1, 5))
    content = rows = [{name: value() for name in names} for _ in range(random.randint(1, 12))]
    if random.random() < 0.3:
        content = {"version": [1, {"a": "]}"}], "note": "[{", random.choice(["data", "rows"]): rows, "none": None}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=random.random() < 0.5, indent=random.choice([None, 1, 4]))
    with open(path, encoding="utf-8") as file:
        read = json.load(file)
    read = read if isinstance(read, list) else next(part for part in read.values() if part == rows)
    return [sorted(names)] + [[as_text(v) for _, v in sorted(row.items())] for row in read]


def as_text(content):
    if isinstance(content, str):
        return content
    return "" if content is None else json.dumps(content)


def main():
    output = Path(sys.argv[1])
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    random.seed(4180)
    for number in range(FILES):
        for kind, write in (("csv", write_csv), ("jsonl", write_jsonl), ("tsv", write_quoted_tsv), ("txt", write_raw_tsv),
                            ("separated", write_separated), ("json", write_json)):
            write_reference(output / f"{number}.{kind}.reference", write(output / f"{number}.{kind}"))


if __name__ == "__main__":
    main()
