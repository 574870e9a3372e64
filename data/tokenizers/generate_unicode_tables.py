#!/usr/bin/env python3
"""Writes unicode_tables.generated.cpp, what Hugging Face's tokenizers do to each code point, or with the argument `columns`
base/wide_characters.generated.cpp, which are two columns wide.

The tables are found by asking the `tokenizers` package about every code point, because its Unicode tables are older than
any library's: generate_unicode_tables.py > unicode_tables.generated.cpp. Widths are those of Python's own Unicode.
"""

import sys
import unicodedata

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

HANGUL = range(0xAC00, 0xD7A4)
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def normalizer(**options):
    defaults = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**defaults, **options})


def ranges(points):
    found = []
    for point in points:
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def print_ranges(name, points):
    found = ranges(points)
    print(f"const std::array<CodePointRange, {len(found)}> {name}Table = {{{{")
    for first, last in found:
        print(f"    {{0x{first:X}, 0x{last:X}}},")
    print("}};")
    print(f"const std::span<const CodePointRange> {name} = {name}Table;\n")


def print_mapping(name, normalize):
    rows = []
    for point in CODE_POINTS:
        if point in HANGUL:
            continue  # decomposed by arithmetic
        mapped = normalize.normalize_str(chr(point))
        if mapped != chr(point):
            rows.append((point, [ord(c) for c in mapped]))
    longest = max(len(mapped) for _, mapped in rows)
    assert longest <= 4, longest
    print(f"const std::array<CodePointMapping, {len(rows)}> {name}Table = {{{{")
    for point, mapped in rows:
        print(f"    {{0x{point:X}, {len(mapped)}, {{{', '.join(f'0x{c:X}' for c in mapped)}}}}},")
    print("}};")
    print(f"const std::span<const CodePointMapping> {name} = {name}Table;\n")


def combining_classes():
    """Each code point's canonical combining class where it is not 0, by where NFD puts it among marks of known class."""
    nfd = normalizers.NFD().normalize_str
    last = "\u0345"  # the one mark of the highest class, 240: every other one moves in front of it
    moving = [chr(c) for c in CODE_POINTS if nfd("a" + last + chr(c))[1] != last]
    known = {}
    for mark in moving:
        if nfd(mark) == mark and unicodedata.combining(mark):
            known.setdefault(unicodedata.combining(mark), mark)
    found = {ord(last): 240}
    for mark in moving:
        first = nfd(mark)[0]  # that of a few is a sequence of marks
        above = [value for value, other in known.items() if nfd("a" + first + other) != "a" + first + other]
        below = [value for value, other in known.items() if nfd("a" + other + first) != "a" + other + first]
        (found[ord(mark)],) = set(known) - set(above) - set(below)
    return found


def print_classes(name, classes):
    rows = []
    for point, value in sorted(classes.items()):
        if rows and rows[-1][1] == point - 1 and rows[-1][2] == value:
            rows[-1][1] = point
        else:
            rows.append([point, point, value])
    print(f"const std::array<CombiningClass, {len(rows)}> {name}Table = {{{{")
    for first, last, value in rows:
        print(f"    {{0x{first:X}, 0x{last:X}, {value}}},")
    print("}};")
    print(f"const std::span<const CombiningClass> {name} = {name}Table;\n")


def byte_level_classes():
    """Letters, numbers and white space: what ByteLevel leaves with a letter, with a digit, and parts from a "!"."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    letters = [c for c in CODE_POINTS if len(pieces("a" + chr(c))) == 1]
    numbers = [c for c in CODE_POINTS if len(pieces("1" + chr(c))) == 1]
    words = {*letters, *numbers}
    spaces = [c for c in CODE_POINTS if c not in words and len(pieces("!" + chr(c))) == 2]
    return letters, numbers, spaces


def stripped_spaces():
    """The white space that an added token takes from its left."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True, normalized=False)])
    found = tokenizer.encode("".join("a" + chr(c) + "<x>" for c in CODE_POINTS)).offsets
    assert len(found) == len(CODE_POINTS)
    return [point for point, (first, last) in zip(CODE_POINTS, found) if last - first > 3]


def is_wide(point):
    """Whether its East_Asian_Width is W or F. Of code points that are not assigned yet those are wide that Unicode keeps for
    ideographs (UAX #11), and those of the two blocks to which it adds pictographs."""
    if unicodedata.category(chr(point)) != "Cn":
        return unicodedata.east_asian_width(chr(point)) in "WF"
    kept = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFD), (0x30000, 0x3FFFD),
            (0x1F680, 0x1F6FF), (0x1FA70, 0x1FAFF)]
    return any(first <= point <= last for first, last in kept)


def print_wide_characters():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"expected a Python of Unicode 14.0.0, found {unicodedata.unidata_version}")
    found = ranges([c for c in CODE_POINTS if is_wide(c)])
    print("// Generated by data/tokenizers/generate_unicode_tables.py columns. Do not edit.")
    print("// clang-format off")
    print('#include "base/wide_characters.h"\n')
    print("#include <array>\n")
    print("namespace dtrain {\n")
    print(f"const std::array<CharacterRange, {len(found)}> kWideTable = {{{{")
    for first, last in found:
        print(f"    {{0x{first:X}, 0x{last:X}}},")
    print("}};")
    print("const std::span<const CharacterRange> kWideCharacters = kWideTable;\n")
    print("}  // namespace dtrain")


def main():
    if sys.argv[1:] == ["columns"]:
        print_wide_characters()
        return
    clean = normalizer(clean_text=True)
    cleaned = {c: clean.normalize_str("a" + chr(c) + "a") for c in CODE_POINTS}
    split = pre_tokenizers.BertPreTokenizer()
    punctuation = [c for c in CODE_POINTS if len(split.pre_tokenize_str("a" + chr(c) + "a")) == 3]

    print("// Generated by generate_unicode_tables.py. Do not edit.")
    print("// clang-format off")
    print('#include "data/tokenizers/unicode_tables.h"\n')
    print("#include <array>\n")
    print("namespace dtrain::data::unicode {\n")
    print_ranges("kDropped", [c for c in CODE_POINTS if cleaned[c] == "aa"])
    print_ranges("kSpaces", [c for c in CODE_POINTS if cleaned[c] == "a a"])
    print_ranges("kPunctuation", punctuation)
    print_mapping("kWithoutAccents", normalizer(strip_accents=True))
    print_mapping("kLowerCase", normalizer(lowercase=True))
    print_classes("kCombining", combining_classes())
    letters, numbers, spaces = byte_level_classes()
    assert spaces == stripped_spaces()
    print_ranges("kLetters", letters)
    print_ranges("kNumbers", numbers)
    print_ranges("kWhiteSpace", spaces)
    print("}  // namespace dtrain::data::unicode")


if __name__ == "__main__":
    main()
