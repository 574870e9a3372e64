#!/usr/bin/env python3
"""Writes CSV and JSONL files of random content and what Python's csv and json modules read in them.

reader_reference.py OUTPUT

OUTPUT/N.csv and OUTPUT/N.jsonl, and beside each a file N.KIND.reference for readers_parity_test.cpp: numbers of 32 bits
(rows; for each its fields), a text as its size in bytes and UTF-8.
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
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.reader(file, strict=True) if row]


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
        for kind, write in (("csv", write_csv), ("jsonl", write_jsonl)):
            write_reference(output / f"{number}.{kind}.reference", write(output / f"{number}.{kind}"))


if __name__ == "__main__":
    main()
