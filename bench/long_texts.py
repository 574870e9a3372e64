"""Long texts for the benchmarks: glosses of the embedded task, one after the other, of one class each."""

import itertools
import random
from pathlib import Path

# A word of these texts is more than one token, so that as many words fill an example of as many tokens.
HEADER = "label\tsentence1\tsentence2"


def write_long_texts(source: Path, directory: Path, tokens: int, rows: int, seed: int = 0) -> None:
    """train.tsv and dev.tsv in `directory`: `rows` and 2 examples of at least `tokens` tokens before they are cut.

    The columns are the embedded task's: the label, the first headword, and the words "headword: gloss; ..." of as many
    synsets of the label as are needed. Labels come as often as among the synsets; dev has none that train has not.
    """
    lines = source.read_text(encoding="utf-8").splitlines()[1:]
    synsets = [line.split("\t") for line in lines]
    by_label: dict[str, list[list[str]]] = {}
    for synset in synsets:
        by_label.setdefault(synset[0], []).append(synset)
    random_numbers = random.Random(seed)

    def row(label: str) -> str:
        first = random_numbers.choice(by_label[label])[1]
        glosses: list[str] = []
        words = 0
        while words < tokens:
            _, headword, gloss = random_numbers.choice(by_label[label])
            glosses.append(f"{headword}: {gloss}")
            words += len(glosses[-1].split())
        return "\t".join((label, first, "; ".join(glosses)))

    labels = [random_numbers.choice(synsets)[0] for _ in range(rows)]
    for name, of in (("train", labels), ("dev", labels[:2])):
        text = itertools.chain([HEADER], (row(label) for label in of))
        (directory / f"{name}.tsv").write_text("\n".join(text) + "\n", encoding="utf-8")
