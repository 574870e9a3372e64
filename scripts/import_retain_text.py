"""General text that forgetting is measured on, from Debian's fortunes-min.

Usage: import_retain_text.py FOLDER FILE. FOLDER: where the package puts its files (/usr/share/games/fortunes). FILE gets a text
a line: the entries of `fortunes`, `literature` and `riddles`, white space within them made one space, of those with 20 to 400
characters, each once.
"""

import pathlib
import sys


def texts(folder):
    seen = set()
    for name in ("fortunes", "literature", "riddles"):
        for entry in (folder / name).read_text(encoding="utf-8").split("\n%\n"):
            text = " ".join(entry.replace("\b", "").removesuffix("\n%").split())
            if 20 <= len(text) <= 400 and text not in seen:
                seen.add(text)
                yield text


def main(folder, file):
    found = list(texts(pathlib.Path(folder)))
    if len(found) < 500:
        sys.exit(f"{folder}: expected some 700 texts of fortunes-min, found {len(found)}")
    path = pathlib.Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(text + "\n" for text in found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
