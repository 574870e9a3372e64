"""Who may include whom: docs/architecture.md's figure of rooms and wings against the include lines of the sources."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ["base", "data", "dist", "launcher", "model", "peft", "study", "train"]

# From a wing, or a file, to what it must not include, whatever the figure says. Peers know each other through the contract
# at the top of their room, and what lists them all is one file.
FORBIDDEN = [
    ("dist/mpi/*", "dist/nccl/*"),
    ("dist/nccl/*", "dist/mpi/*"),
    ("data/tokenizers/*", "data/readers/*"),
    ("model/families/*", "model/kernels/*"),
    ("model/kernels/*", "model/families/*"),
    ("model/kernels/*", "model/formats/*"),
    ("peft/methods/*", "peft/formats/*"),
    ("peft/methods/*", "peft/registry.h"),
    ("peft/parts/*", "peft/methods/*"),
    ("peft/parts/*", "peft/formats/*"),
    ("peft/parts/*", "peft/registry.h"),
    ("peft/formats/*", "peft/methods/*"),
]
# What one file alone includes, of those that are not in its wing.
ALONE = {"peft/methods/kinds.h": {"peft/registry.cpp"}, "model/families/*": {"model/registry.cpp"},
         "train/objectives/*": {"train/objective.cpp"}}
# Wings that other rooms do not enter, but for these: the optimiser steps by loops of each instruction set as attention
# does, and --version names that set.
CLOSED = {"model/kernels": {"train/optimizer.cpp", "launcher/share.cpp"}, "model/families": set(), "peft/methods": set(),
          "peft/parts": set(), "train/objectives": set(), "study/statistics": set()}


def sources(room):
    return [path for path in sorted((ROOT / room).rglob("*")) if path.suffix in (".h", ".cpp")]


def includes():
    """(including file, included file), as paths from the root, of all rooms."""
    found = []
    for room in ROOMS:
        for path in sources(room):
            lines = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.M)
            found += [(path.relative_to(ROOT).as_posix(), line) for line in lines]
    return found


def room_of(file):
    return file.split("/")[0]


def wing_of(file):
    """The folder of a file: a room's top or one of its wings."""
    return str(pathlib.PurePosixPath(file).parent)


def figure():
    """The arrows of the Mermaid figure, between the names in their nodes."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```mermaid\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == 1, "docs/architecture.md: expected one Mermaid figure"
    names = dict(re.findall(r'(\w+)\["([\w/]+)', blocks[0]))
    arrows = set()
    for line in blocks[0].splitlines():
        if "-->" not in line:
            continue
        ends = [[names.get(end.strip(), end.strip()) for end in side.split("&")] for side in line.split("-->")]
        for left, right in zip(ends, ends[1:]):
            arrows |= {(one, other) for one in left for other in right}
    return arrows


def closure(arrows):
    reached = set(arrows)
    while True:
        more = {(a, d) for a, b in reached for c, d in reached if b == c} - reached
        if not more:
            return reached
        reached |= more


EDGES = includes()


def test_an_include_names_a_file_of_a_room():
    assert len(EDGES) > 500
    missing = [(file, line) for file, line in EDGES if room_of(line) not in ROOMS or not (ROOT / line).is_file()]
    assert not missing, missing


def test_arrows_between_rooms_follow_the_figure():
    drawn = {(a, b) for a, b in figure() if room_of(a) != room_of(b)}
    assert all(a in ROOMS and b in ROOMS for a, b in drawn), drawn
    real = {(room_of(a), room_of(b)) for a, b in EDGES if room_of(a) != room_of(b)}
    assert not {b for a, b in real if a == "base"}, "base knows no room"
    # Everybody may use base, which the figure leaves out.
    real = {(a, b) for a, b in real if b != "base"}
    assert real <= closure(drawn), f"not in the figure: {sorted(real - closure(drawn))}"
    assert drawn <= real, f"drawn, and no include: {sorted(drawn - real)}"


def test_arrows_within_a_room_are_those_of_the_figure():
    drawn = {(a, b) for a, b in figure() if room_of(a) == room_of(b)}
    real = {(wing_of(a), wing_of(b)) for a, b in EDGES if room_of(a) == room_of(b) and wing_of(a) != wing_of(b)}
    assert real == drawn, f"not in the figure: {sorted(real - drawn)}; drawn, and no include: {sorted(drawn - real)}"


@pytest.mark.parametrize("rule", FORBIDDEN, ids=" to ".join)
def test_a_wing_does_not_reach_past_the_contract(rule):
    left, right = rule
    assert any(pathlib.PurePosixPath(b).match(right) for _, b in EDGES), f"{right} is included by nobody"
    broken = [(a, b) for a, b in EDGES if pathlib.PurePosixPath(a).match(left) and pathlib.PurePosixPath(b).match(right)]
    assert not broken, broken


@pytest.mark.parametrize("wing", CLOSED)
def test_other_rooms_do_not_enter_a_closed_wing(wing):
    entered = {a for a, b in EDGES if wing_of(b) == wing and room_of(a) != room_of(b)}
    assert entered == CLOSED[wing]


def test_methods_share_parts_and_not_each_other():
    shared = {b for a, b in EDGES if wing_of(a) == wing_of(b) == "peft/methods"}
    assert shared == {"peft/methods/kinds.h"}


@pytest.mark.parametrize("pattern", ALONE)
def test_one_file_alone_knows_all_of_a_kind(pattern):
    wing = wing_of(pattern.replace("*", "x"))
    users = {a for a, b in EDGES if pathlib.PurePosixPath(b).match(pattern) and wing_of(a) != wing}
    assert users == ALONE[pattern]


def test_training_and_studies_know_neither_texts_nor_files_of_data():
    known = {b for a, b in EDGES if room_of(a) in ("train", "study") and room_of(b) == "data"}
    assert known == {"data/targets.h", "data/batch_plan.h"}
    assert {room_of(b) for a, b in EDGES if a in known} == {"base"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_links_what_it_may_include(room):
    text = (ROOT / room / "CMakeLists.txt").read_text(encoding="utf-8")
    linked = re.search(r"^\s+ROOMS ([\w ]+)", text, re.M)
    linked = set(linked[1].split()) - {"base"} if linked else set()
    allowed = {b for a, b in closure(figure()) if a == room}
    assert linked <= allowed, f"{room} links {sorted(linked - allowed)}"
    built = set(re.findall(r"[\w/.]+\.cpp", text))
    unbuilt = [path.relative_to(ROOT / room).as_posix() for path in sources(room) if path.suffix == ".cpp"]
    assert not [name for name in unbuilt if name not in built], "sources that CMakeLists.txt does not name"


def paths_in(text):
    """What a text names, in backticks, that looks like a path of the repository."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if not re.fullmatch(r"(?:" + "|".join([*ROOMS, "bench", "cmake", "docs", "scripts", "tests"]) + r")/[\w./{},*-]*", quoted):
            continue
        braces = re.search(r"\{([^}]*)\}", quoted)
        yield from ([quoted] if braces is None else
                    [quoted.replace(braces[0], part.strip()) for part in braces[1].split(",")])


@pytest.mark.parametrize("document", ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))])
def test_every_path_in_a_document_exists(document):
    named = set(paths_in((ROOT / document).read_text(encoding="utf-8")))
    if document in ("docs/architecture.md", "docs/adding-a-method.md"):
        assert len(named) > 5, named
    # `study/findings/verdict` stands for a file pair.
    missing = [name for name in sorted(named)
               if not any(list(ROOT.glob(name.rstrip("/") + ending)) for ending in ("", ".h", ".cpp"))]
    assert not missing, missing
