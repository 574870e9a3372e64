#!/usr/bin/env python3
"""Writes what transformers' BertTokenizer makes of the embedded task, of Unicode fuzz and of every truncation.

tokenizer_reference.py SHARE OUTPUT

OUTPUT/models/VARIANT is a model directory for each variant of the tokenizer, OUTPUT/CASE.reference what
tokenizer_parity_test.cpp reads: numbers of 32 bits; a text is its size in bytes and UTF-8, an absent pair the size -1.
A case of the fuzz holds for each row text, pair, maximal length, second segment, number of ids, ids; a case of the
embedded task the same without the texts, which are in the task's own files.
"""

import json
import random
import shutil
import struct
import sys
import unicodedata
from pathlib import Path

from transformers import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OPTIONS = {
    "lower": dict(do_lower_case=True, strip_accents=None, tokenize_chinese_chars=True),
    "lower-keep-accents": dict(do_lower_case=True, strip_accents=False, tokenize_chinese_chars=True),
    "cased": dict(do_lower_case=False, strip_accents=None, tokenize_chinese_chars=True),
    "cased-strip-accents": dict(do_lower_case=False, strip_accents=True, tokenize_chinese_chars=True),
    "lower-chinese-whole": dict(do_lower_case=True, strip_accents=None, tokenize_chinese_chars=False),
}


def number(value):
    return struct.pack("<i", value)


def text_bytes(text):
    if text is None:
        return number(-1)
    encoded = text.encode()
    return number(len(encoded)) + encoded


def write_case(path, tokenizer, rows, max_lengths, with_texts):
    """rows: (text, pair or None); each at its length of max_lengths."""
    encoded = [None] * len(rows)
    for length in sorted(set(max_lengths)):
        for paired in (False, True):
            places = [i for i, row in enumerate(rows) if max_lengths[i] == length and (row[1] is not None) == paired]
            if not places:
                continue
            texts = [rows[i][0] for i in places]
            pairs = [rows[i][1] for i in places] if paired else None
            batch = tokenizer(texts, pairs, truncation=True, max_length=length)
            for i, ids, types in zip(places, batch["input_ids"], batch["token_type_ids"]):
                encoded[i] = ids, types
    with open(path, "wb") as out:
        for (text, pair), length, (ids, types) in zip(rows, max_lengths, encoded):
            second = types.index(1) if 1 in types else len(ids)
            assert types == [0] * second + [1] * (len(ids) - second)
            if with_texts:
                out.write(text_bytes(text) + text_bytes(pair))
            out.write(struct.pack(f"<iii{len(ids)}i", length, second, len(ids), *ids))


def model_directory(path, vocabulary, options):
    path.mkdir(parents=True)
    (path / "vocab.txt").write_text("".join(token + "\n" for token in vocabulary), newline="")
    (path / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="BertTokenizer", **options)))
    return BertTokenizer.from_pretrained(str(path))


def pools():
    """Code points that the tokenizer treats apart from each other, and any."""
    everything = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    of = {}
    for point in everything:
        of.setdefault(unicodedata.category(chr(point)), []).append(point)
    ranges = lambda *pairs: [c for first, last in pairs for c in range(first, last + 1)]
    return [
        ranges((0x20, 0x7E)),
        ranges((0x61, 0x7A)),
        ranges((0, 0x1F), (0x7F, 0xA0)),
        ranges((0xC0, 0x24F), (0x1E00, 0x1FFF)),  # Latin and Greek with accents
        ranges((0x370, 0x52F)),
        of["Mn"], of["Mn"], of["Mc"] + of["Me"],
        ranges((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
        ranges((0x20000, 0x2FA1F)),
        ranges((0xAC00, 0xD7A3), (0x1100, 0x11FF)),
        ranges((0x590, 0x8FF), (0xFB1D, 0xFDFF), (0x202A, 0x202E), (0x2066, 0x2069)),  # right to left
        ranges((0x1F1E6, 0x1F1FF), (0x1F300, 0x1FAFF), (0xFE00, 0xFE0F), (0x200D, 0x200D)),  # emoji
        of["Zs"] + of["Zl"] + of["Zp"] + ranges((9, 13), (0x85, 0x85), (0x200B, 0x200F), (0xFEFF, 0xFEFF)),
        [0xD7FF, 0xE000, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 0x10FFFF],
        of["Cf"] + of["Co"][:50],
        of["Cn"],
        of["Pc"] + of["Pd"] + of["Ps"] + of["Pe"] + of["Pi"] + of["Pf"] + of["Po"] + of["Sk"] + of["Sm"] + of["Sc"],
        of["Lt"] + of["Lm"] + of["Nl"] + of["No"] + of["So"],
        everything,
    ]


def fuzz(count, words):
    random.seed(20_061_201)
    choices = pools()
    fragments = SPECIAL + ["[mask]", "[MASK", "[[MASK]]", "[SEP][SEP]", "##ing", "Σας", "İstanbul", "ﬃ", "ǅ", "한국어"]

    def word():
        kind = random.random()
        if kind < 0.1:
            return random.choice(fragments)
        if kind < 0.2:
            return random.choice(words)
        size = random.choice([1, 2, 3, 5, 8, 13] * 5 + [99, 100, 101, 102, 150, 400])
        pool = random.choice(choices)
        if random.random() < 0.3:  # letters with marks, in any order
            marks = choices[random.choice([5, 7])]
            return "".join(chr(random.choice(random.choice([pool, marks]))) for _ in range(size))
        return "".join(chr(random.choice(pool)) for _ in range(size))

    def text():
        separator = random.choice([" ", " ", "", "\t", "\u3000"])
        return separator.join(word() for _ in range(random.choice([0, 1, 1, 2, 3, 5, 8])))

    return [(text(), text() if random.random() < 0.5 else None) for _ in range(count)]


def truncations():
    rows, lengths = [], []
    for length in range(3, 15):
        for left in range(0, 15):
            rows.append((" ".join("abcdefghijklmno"[:left]), None))
            for right in range(0, 15):
                rows.append((" ".join("abcdefghijklmno"[:left]), " ".join("pqrstuvwxyzabcd"[:right])))
            lengths += [length] * 16
    return rows, lengths


def main():
    share, output = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    embedded = BertTokenizer.from_pretrained(str(share / "models/minilm-l6-h384"))
    assert embedded.is_fast

    for name in ["train", "dev", "test", "examples"]:
        lines = (share / f"tasks/wordnet/{name}.tsv").read_text().split("\n")[1:]
        rows = [tuple(line.split("\t")[1:]) for line in lines if line]
        lengths = [128] if name in ("train", "dev") else [128, 16, 9]
        for length in lengths:
            write_case(output / f"{name}-{length}.reference", embedded, rows, [length] * len(rows), False)

    rows, lengths = truncations()
    write_case(output / "truncations.reference", embedded, rows, lengths, True)

    vocabulary = (share / "models/minilm-l6-h384/vocab.txt").read_text().split("\n")[:-1]
    rows = fuzz(5_000, vocabulary[2000:])
    lengths = [random.choice([8, 128, 512]) for _ in rows]
    write_case(output / "fuzz.reference", embedded, rows, lengths, True)
    # A vocabulary of single code points shows what a word of unknown ones would hide.
    points = set()
    for options in OPTIONS.values():
        tokenizer = model_directory(output / "models/unused", SPECIAL, options)
        shutil.rmtree(output / "models/unused")
        for row in rows:
            for text in row:
                points.update(tokenizer.backend_tokenizer.normalizer.normalize_str(text or ""))
    points = sorted(point for point in points if not point.isspace() or point == "\u200b")
    characters = SPECIAL + points + ["##" + point for point in points]
    for name, options in OPTIONS.items():
        tokenizer = model_directory(output / f"models/{name}", characters, options)
        write_case(output / f"fuzz-{name}.reference", tokenizer, rows, lengths, True)


if __name__ == "__main__":
    main()
