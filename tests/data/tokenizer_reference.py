#!/usr/bin/env python3
"""Writes what transformers' tokenizers make of the embedded task, of Unicode fuzz and of every truncation.

tokenizer_reference.py SHARE OUTPUT

OUTPUT/models/NAME is a model directory for each tokenizer, OUTPUT/NAME-CASE.reference what tokenizer_parity_test.cpp
reads: numbers of 32 bits; a text is its size in bytes and UTF-8, an absent pair the size -1. A case of the fuzz holds
for each row text, pair, maximal length, second segment, number of ids, ids; a case of the embedded task the same
without the texts, which are in the task's own files, after a first number n: of those it has every n-th. Of the training
texts that is every tenth, with DTRAIN_TEST_WHOLE=1 each one.
"""

import json
import os
import random
import shutil
import struct
import sys
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizerFast

BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPACE = "Ġ"  # as a byte-level vocabulary writes it
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT_OPTIONS = {
    "bert-lower": dict(do_lower_case=True, strip_accents=None, tokenize_chinese_chars=True),
    "bert-lower-keep-accents": dict(do_lower_case=True, strip_accents=False, tokenize_chinese_chars=True),
    "bert-cased": dict(do_lower_case=False, strip_accents=None, tokenize_chinese_chars=True),
    "bert-cased-strip-accents": dict(do_lower_case=False, strip_accents=True, tokenize_chinese_chars=True),
    "bert-lower-chinese-whole": dict(do_lower_case=True, strip_accents=None, tokenize_chinese_chars=False),
    "bert-lower-added": dict(do_lower_case=True),
    "bert-cased-added-cut-left": dict(do_lower_case=False, truncation_side="left"),
}
# With added tokens, most of which are looked for in the normalized text.
BERT_ADDED = [dict(content="Σας"), dict(content="한국"), dict(content="中"), dict(content="É", lstrip=True),
              dict(content="the", rstrip=True), dict(content="<first>", normalized=False), dict(content="  İ"),
              dict(content="[mask]", lstrip=True, rstrip=True), dict(content="ﬃ")]
ON_THE_TASK = ["minilm", "roberta", "roberta-files-prefix-space"]


def number(value):
    return struct.pack("<i", value)


def text_bytes(text):
    if text is None:
        return number(-1)
    encoded = text.encode()
    return number(len(encoded)) + encoded


def batches_of(places, size=256):
    return [places[begin:begin + size] for begin in range(0, len(places), size)]


def write_case(path, tokenizer, rows, max_lengths, every=None):
    """rows: (text, pair or None); each at its length of max_lengths. `every`: which of a file's texts they are; None: these
    are in no file, and are written, too."""
    encoded = [None] * len(rows)
    for length in sorted(set(max_lengths)):
        for paired in (False, True):
            places = [i for i, row in enumerate(rows) if max_lengths[i] == length and (row[1] is not None) == paired]
            # In batches: `tokenizers` keeps all that it cuts, of a pair every part of one with every part of the other.
            for batch in batches_of(places):
                texts = [rows[i][0] for i in batch]
                pairs = [rows[i][1] for i in batch] if paired else None
                found = tokenizer(texts, pairs, truncation=True, max_length=length, return_token_type_ids=True,
                                  return_attention_mask=False)
                for i, ids, types in zip(batch, found["input_ids"], found["token_type_ids"]):
                    encoded[i] = ids, types
    with open(path, "wb") as out:
        if every is not None:
            out.write(number(every))
        for (text, pair), length, (ids, types) in zip(rows, max_lengths, encoded):
            second = types.index(1) if 1 in types else len(ids)
            assert types == [0] * second + [1] * (len(ids) - second)
            if every is None:
                out.write(text_bytes(text) + text_bytes(pair))
            out.write(struct.pack(f"<iii{len(ids)}i", length, second, len(ids), *ids))


def load(path, model_type):
    """The tokenizer that transformers takes for a model of this directory."""
    (path / "config.json").write_text(json.dumps(dict(model_type=model_type)))
    return AutoTokenizer.from_pretrained(str(path))


def bert_directory(path, vocabulary, options):
    path.mkdir(parents=True)
    (path / "vocab.txt").write_text("".join(token + "\n" for token in vocabulary), newline="")
    (path / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="BertTokenizer", **options)))
    return load(path, "bert")


def bert_tokenizers(models_folder, rows):
    # A vocabulary of single code points shows what a word of unknown ones would hide.
    points = set()
    for options in BERT_OPTIONS.values():
        tokenizer = bert_directory(models_folder / "unused", BERT_SPECIAL, options)
        shutil.rmtree(models_folder / "unused")
        for row in rows:
            for text in row:
                points.update(tokenizer.backend_tokenizer.normalizer.normalize_str(text or ""))
    points = sorted(point for point in points if not point.isspace() or point == "\u200b")
    characters = BERT_SPECIAL + points + ["##" + point for point in points]
    # transformers gives a token of the vocabulary its id there, and the others the next ones, whatever a file says.
    contents = [token["content"] for token in BERT_ADDED]
    beyond = [content for content in contents if content not in characters]
    ids = {content: characters.index(content) if content in characters else len(characters) + beyond.index(content)
           for content in contents}
    flags = dict(lstrip=False, rstrip=False, single_word=False, normalized=True, special=False)
    added = {str(ids[token["content"]]): flags | token for token in BERT_ADDED}

    def directory(name, options):
        if "added" in name:
            options = options | dict(added_tokens_decoder=added)
        return bert_directory(models_folder / name, characters, options)
    return {name: directory(name, options) for name, options in BERT_OPTIONS.items()}


def without_some_bytes(vocabulary, merges):
    """A vocabulary without the letters x and z and without a quarter of the bytes that are not printable ASCII."""
    bytes_beyond = [token for token in vocabulary if len(token) == 1 and ord(token) > 0x7E and token != SPACE]
    missing = {"x", "z", *sorted(bytes_beyond)[::4]}
    tokens = [token for token in vocabulary if token in ROBERTA_SPECIAL or not missing & set(token)]
    assert len(missing) > 30 and tokens[:5] == ROBERTA_SPECIAL
    return {token: i for i, token in enumerate(tokens)}, [m for m in merges if not missing & set("".join(m))]


def roberta_tokenizers(models_folder, texts):
    """Every layout of RoBERTa's tokenizer, with byte pairs that are learnt here."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=8_000, special_tokens=ROBERTA_SPECIAL, show_progress=False)
    models_folder.mkdir(exist_ok=True)
    trained.save_model(str(models_folder))
    vocabulary_file, merges_file = models_folder / "vocab.json", models_folder / "merges.txt"
    vocabulary = dict(sorted(json.loads(vocabulary_file.read_text()).items(), key=lambda entry: entry[1]))
    merges = [tuple(line.split(" ")) for line in merges_file.read_text().split("\n")[1:-1]]
    assert len(merges) > 7_000
    mask = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
    added = [AddedToken("<mask>x"), AddedToken("<s>>", normalized=False), AddedToken("the", rstrip=True),
             AddedToken("\u3000", normalized=False), AddedToken("</s", lstrip=True, rstrip=True, normalized=False),
             AddedToken("한국", lstrip=True)]

    def files(name, options, **documents):
        folder = models_folder / name
        folder.mkdir()
        shutil.copy(vocabulary_file, folder)
        shutil.copy(merges_file, folder)
        for file, document in dict(tokenizer_config=options, **documents).items():
            (folder / f"{file}.json").write_text(json.dumps(document))
        return load(folder, "roberta")

    def whole(name, tokenizer, more=(), change=None):
        folder = models_folder / name
        tokenizer.add_tokens(list(more))
        tokenizer.save_pretrained(str(folder))
        if change:
            document = json.loads((folder / "tokenizer.json").read_text())
            change(document)
            (folder / "tokenizer.json").write_text(json.dumps(document))
        assert not (folder / "vocab.json").exists()
        return load(folder, "roberta")

    def roberta(**options):
        return RobertaTokenizerFast(vocab=str(vocabulary_file), merges=str(merges_file), mask_token=mask, **options)

    def generic(partial, post_processor, **options):
        tokens, pairs = without_some_bytes(vocabulary, merges) if partial else (vocabulary, merges)
        tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=pairs, **options))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=not partial)
        tokenizer.post_processor = post_processor
        names = dict(cls_token="<s>", sep_token="</s>", mask_token="<mask>")
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)

    def merges_as_text(document):
        document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]

    flags = dict(lstrip=True, rstrip=False, single_word=False, normalized=False)
    decoder = {str(vocabulary[token]): dict(flags, content=token, lstrip=token == "<mask>", special=True)
               for token in ROBERTA_SPECIAL}
    decoder["8000"] = dict(flags, content="<first>", special=False)
    decoder["8001"] = dict(flags, content="<second>", rstrip=True, normalized=True, special=False)
    template = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                             special_tokens=[("<s>", 0), ("</s>", 2)])
    tokens, pairs = without_some_bytes(vocabulary, merges)
    return {
        "roberta": whole("roberta", roberta()),
        "roberta-prefix-space": whole("roberta-prefix-space", roberta(add_prefix_space=True), change=merges_as_text),
        "roberta-files": files("roberta-files", dict(tokenizer_class="RobertaTokenizer"),
                               special_tokens_map=dict(cls_token="<s>", sep_token="</s>",
                                                       mask_token=dict(flags, content="<mask>"))),
        "roberta-files-prefix-space": files("roberta-files-prefix-space", dict(add_prefix_space=True)),
        "roberta-files-added": files("roberta-files-added", dict(additional_special_tokens=["<second>", "<third>"]),
                                     added_tokens={"<first>": 8000, "<second>": 8001, "a<second": 8002}),
        "roberta-files-decoder": files("roberta-files-decoder",
                                       dict(added_tokens_decoder=decoder, mask_token="<mask>")),
        "roberta-added": whole("roberta-added", roberta(), added),
        "roberta-bytes-missing": whole("roberta-bytes-missing", RobertaTokenizerFast(vocab=tokens, merges=pairs)),
        "generic": whole("generic", generic(False, processors.RobertaProcessing(("</s>", 2), ("<s>", 0))), added),
        "generic-unknown": whole("generic-unknown", generic(True, template, unk_token="<unk>")),
        "generic-unknown-fused": whole(
            "generic-unknown-fused",
            generic(True, processors.Sequence([processors.ByteLevel(trim_offsets=False), template]), unk_token="<unk>",
                    fuse_unk=True)),
    }


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
    fragments = BERT_SPECIAL + ["[mask]", "[MASK", "[[MASK]]", "[SEP][SEP]", "##ing", "Σας", "İstanbul", "ﬃ", "ǅ"]
    fragments += ROBERTA_SPECIAL + ["<Mask>", "<mask", "<<mask>>", "</s></s>", "<mask>x", " <mask>\u00a0 ", "<s>>"]
    fragments += ["\u3000</s \t ", "<first>", " <second>\n", "a<second>", "<third>", "the  ", "  \n한국", "한국어"]
    fragments += [f"he{ending}{letters}" for ending in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'D")
                  for letters in ("er", "st", "ry", "ow", "ed")]
    fragments += ["it's", "we'll've", "'S", "''d", " 'twas", "²³½", "x² 10", "\n\n", " \u00a0 "]

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
        separator = random.choice([" ", " ", "", "\t", "\u3000", "  ", " \n", "\r\n "])
        return separator.join(word() for _ in range(random.choice([0, 1, 1, 2, 3, 5, 8])))

    return [(text(), text() if random.random() < 0.5 else None) for _ in range(count)]


def truncations(special_tokens):
    rows, lengths = [], []
    for length in range(special_tokens, special_tokens + 12):
        for left in range(0, 15):
            rows.append((" ".join("abcdefghijklmno"[:left]), None))
            for right in range(0, 15):
                rows.append((" ".join("abcdefghijklmno"[:left]), " ".join("pqrstuvwxyzabcd"[:right])))
            lengths += [length] * 16
    return rows, lengths


def main():
    share, output = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(output, ignore_errors=True)
    (output / "models").mkdir(parents=True)
    (output / "models/minilm").symlink_to((share / "models/minilm-l6-h384").resolve())
    task = {}
    for name in ["train", "dev", "test", "examples"]:
        lines = (share / f"tasks/wordnet/{name}.tsv").read_text().split("\n")[1:]
        task[name] = [tuple(line.split("\t")[1:]) for line in lines if line]
    words = (share / "models/minilm-l6-h384/vocab.txt").read_text().split("\n")[2000:-1]
    rows = fuzz(5_000, words)
    lengths = [random.choice([8, 128, 512] if len(text + (pair or "")) < 80 else [128, 512]) for text, pair in rows]

    embedded = AutoTokenizer.from_pretrained(str(output / "models/minilm"))
    assert embedded.is_fast
    tokenizers = {"minilm": embedded, **bert_tokenizers(output / "models", rows),
                  **roberta_tokenizers(output / "models", (text for row in task["train"] for text in row))}
    for name, tokenizer in tokenizers.items():
        write_case(output / f"{name}-fuzz.reference", tokenizer, rows, lengths)
        if name not in ON_THE_TASK:
            continue
        truncated = truncations(tokenizer.num_special_tokens_to_add(pair=True))
        write_case(output / f"{name}-truncations.reference", tokenizer, *truncated)
        for split, all_texts in task.items():
            every = 10 if split == "train" and "DTRAIN_TEST_WHOLE" not in os.environ else 1
            texts = all_texts[::every]
            for length in [128] if split in ("train", "dev") else [128, 16, 9]:
                path = output / f"{name}-{split}-{length}.reference"
                write_case(path, tokenizer, texts, [length] * len(texts), every)
        definitions = [(pair, None) for text, pair in task["dev"]]
        write_case(output / f"{name}-definitions.reference", tokenizer, definitions, [12] * len(definitions))


if __name__ == "__main__":
    main()
