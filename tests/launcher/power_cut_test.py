"""The power fails between any two changes that a run makes to its files: --resume goes on to the results of a run left alone.

file_recorder.cpp writes down what a run does to its directory. Its operations are done again, one more each time, on a disk
in memory that knows what was synced; what the power cut leaves of it, by each of the guesses below, is laid out for a run with
--resume. A few of these directories here; by hand as many as DTRAIN_POWER_CUTS says, first those that differ in more than
temporary files, or "all".
"""

import collections
import concurrent.futures
import os
import pathlib
import re
import shutil

import pytest

from outcomes import difference, tree_of, what_was_found, what_was_trained

CUTS = os.environ.get("DTRAIN_POWER_CUTS")
Operation = collections.namedtuple("Operation", "name path second number data")
State = collections.namedtuple("State", "cut guess tree promise")


class File:
    """What it holds, and what of that was synced."""

    def __init__(self, content=b""):
        self.content, self.synced = content, content

    def write(self, offset, data):
        before = self.content.ljust(offset, b"\0")
        self.content = before[:offset] + data + before[offset + len(data):]

    def truncate(self, size):
        self.content = self.content[:size].ljust(size, b"\0")

    def sync(self):
        self.synced = self.content

    def zeroed(self):
        """Its size was on the disk before its data."""
        return self.synced[:len(self.content)].ljust(len(self.content), b"\0")


class Folder:
    """The names in it, and those that were synced."""

    def __init__(self):
        self.names, self.synced = {}, {}

    def sync(self):
        self.synced = dict(self.names)


# What a power cut leaves: of names, of a file's data. Journalling file systems keep names in their order, and differ in data.
GUESSES = {
    "everything": (lambda folder: folder.names, lambda file: file.content),
    "what was synced": (lambda folder: folder.synced, lambda file: file.synced),
    "all names, but synced data alone": (lambda folder: folder.names, lambda file: file.synced),
    "all names and sizes, zeros for data not synced": (lambda folder: folder.names, File.zeroed),
}


class Disk:
    """Files and folders below `root`, as operations leave them; `root` itself was there before."""

    def __init__(self, root):
        self.root, self.top = str(root), Folder()

    def load(self):
        """Takes what is in `root` now, as synced long ago."""
        def taken(path):
            if path.is_dir():
                folder = Folder()
                folder.names = {entry.name: taken(entry) for entry in path.iterdir()}
                folder.sync()
                return folder
            return File(path.read_bytes())

        self.top = taken(pathlib.Path(self.root))
        return self

    def place(self, path):
        """The folder that a path's name is in, and the name."""
        parts = os.path.relpath(path, self.root).split(os.sep)
        folder = self.top
        for part in parts[:-1]:
            folder = folder.names[part]
        return folder, parts[-1]

    def node(self, path):
        if path == self.root:
            return self.top
        folder, name = self.place(path)
        return folder.names[name]

    def do(self, operation):
        name, path, second, number, data = operation
        if name != "rename" and path.endswith(" (deleted)"):
            return  # of a file without a name, which nobody will read
        assert name != "unknown", f"what {second} did to {path} cannot be done again"
        if name in ("write", "truncate", "sync"):
            arguments = {"write": (number, data), "truncate": (number,), "sync": ()}[name]
            getattr(self.node(path), name)(*arguments)
            return
        folder, own = self.place(path)
        if name in ("create", "mkdir"):
            folder.names[own] = File() if name == "create" else Folder()
        elif name in ("unlink", "rmdir"):
            del folder.names[own]
        elif name == "rename":
            there, new = self.place(second)
            there.names[new] = folder.names.pop(own)
        else:
            raise AssertionError(f"dtrain makes no links: {operation}")

    def tree(self, guess):
        """What is found after the cut: the content of each file by its path, None for a folder."""
        names, content = GUESSES[guess]
        found = {}

        def walk(folder, prefix):
            for name, node in names(folder).items():
                found[prefix + name] = None if isinstance(node, Folder) else content(node)
                if isinstance(node, Folder):
                    walk(node, prefix + name + "/")

        walk(self.top, "")
        return found


def read_record(path):
    """The operations that file_recorder.cpp wrote down."""
    operations = []
    with open(path, "rb") as file:
        while line := file.readline():
            name, first, second, number, size = line.decode().rstrip("\n").split("\t")
            operations.append(Operation(name, first, second, int(number), file.read(int(size))))
            assert file.read(1) == b"\n"
    return operations


def lay_out(tree, folder):
    folder.mkdir()
    for name in sorted(tree):
        if tree[name] is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(tree[name])


class Promise:
    """What a user may count on: what dtrain has synced under its final name, and then the name."""

    def __init__(self, root):
        self.checkpoints = f"{root}/out/checkpoint"
        self.out = f"{root}/out"
        self.renamed, self.step, self.finished, self.trials = 0, 0, False, 0
        self.results_are_there = False

    def after(self, operation, disk):
        checkpoint = re.fullmatch(re.escape(self.checkpoints) + r"/step-(\d+)", operation.second)
        if operation.name == "rename" and checkpoint:
            self.renamed = int(checkpoint[1])
        if operation.name == "rename" and operation.second == self.out + "/results.json":
            self.results_are_there = True
        if operation.name == "sync" and operation.path == self.checkpoints:
            self.step = self.renamed
        if operation.name == "sync" and operation.path == self.out:
            self.finished = self.results_are_there
        if operation.name == "sync" and operation.path == self.out + "/journal.jsonl":
            self.trials = disk.node(operation.path).synced.count(b'"phase"')
        return {"step": self.step, "finished": self.finished, "trials": self.trials}


def without_passing(tree):
    """What --resume may build on: no temporary files, no lock."""
    return frozenset((name, content) for name, content in tree.items() if ".part" not in name and not name.endswith(".lock"))


def states_of(operations, disk):
    """Each directory that a cut may leave, once. First those that differ in what a later run may build on."""
    promise = Promise(disk.root)
    promised = {"step": 0, "finished": False, "trials": 0}
    found, ways, seen = [], set(), set()

    def add(cut, guess, tree):
        # A promise that was made since is one more thing to keep.
        key = (frozenset(tree.items()), tuple(promised.values()))
        if key in seen:
            return
        seen.add(key)
        way = (without_passing(tree), key[1])
        found.append((way in ways, State(cut, guess, tree, promised)))
        ways.add(way)

    for cut, operation in enumerate([None, *operations]):
        if operation is not None:
            if operation.name == "write" and len(operation.data) > 1:
                half = operation._replace(data=operation.data[:len(operation.data) // 2])
                node = None if operation.path.endswith(" (deleted)") else disk.node(operation.path)
                before = node and node.content
                disk.do(half)
                add(cut, "everything, but half of the last write", disk.tree("everything"))
                if node:
                    node.content = before
            disk.do(operation)
            promised = promise.after(operation, disk)
        for guess in GUESSES:
            add(cut, guess, disk.tree(guess))
    ordered = sorted(found, key=lambda entry: entry[0])
    return [state for _, state in ordered], len(ways)


def chosen_of(states, ways, count):
    """What DTRAIN_POWER_CUTS says, or so many for each guess, evenly, of those that differ in what can be built on."""
    if CUTS is not None:
        return states if CUTS == "all" else states[:int(CUTS)]
    chosen = []
    for guess in dict.fromkeys(state.guess for state in states[:ways]):
        group = [state for state in states[:ways] if state.guess == guess]
        number = min(count, len(group))
        chosen += [group[(2 * i + 1) * len(group) // (2 * number)] for i in range(number)]
    return chosen


def recorded(dtrain, folder, arguments):
    """The operations of a run in `folder`, which succeeds."""
    log = folder.with_suffix(".record")
    disk = Disk(folder).load()
    dtrain.succeeds(*arguments, cwd=folder, env={
        "LD_PRELOAD": os.environ["DTRAIN_TEST_FILE_RECORDER"], "TEST_RECORDED_FOLDER": str(folder), "TEST_RECORD": str(log)})
    return read_record(log), disk


def never(ended, promise):
    """The refusals that are right: none."""
    return False


def check_states(dtrain, folder, operations, disk, run, count, check, refuses_rightly=never):
    states, ways = states_of(operations, disk)
    # Nothing was missed: done again, the operations leave what the run left.
    assert disk.tree("everything") == tree_of(folder)
    chosen = chosen_of(states, ways, count)
    refused = []

    def problem_of(entry):
        index, state = entry
        place = folder.parent / f"{folder.name}-{index}"
        lay_out(state.tree, place)
        ended = dtrain(*run, "--resume", cwd=place)
        operation = "the start" if state.cut == 0 else " ".join(map(str, operations[state.cut - 1][:4]))
        if refuses_rightly(ended, state.promise):
            refused.append(state)
            ended = dtrain(*run, "--overwrite", cwd=place)
        try:
            problem = f"exit code {ended.code}" if ended.code != 0 else check(place / "out", ended, state.promise)
        except (OSError, ValueError, KeyError) as error:
            problem = f"what it wrote cannot be read: {error!r}"
        if problem:
            return f"cut {state.cut} after {operation}, left: {state.guess}: {problem}, in {place}\n{ended}"
        shutil.rmtree(place)
        return None

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(problem_of, enumerate(chosen)) if problem]
    print(f"{folder.name}: {len(operations)} operations, {len(states)} directories that a cut may leave, {ways} of them with "
          f"other things to build on; {len(chosen)} tried, {len(refused)} rightly refused, {len(problems)} wrong")
    assert not problems, "\n".join(problems)


RUN = ["--method", "lora", "--lr", "0.001", "--batch-size", "8", "--max-steps", "8", "--log-steps", "1", "--save-steps", "2",
       "--output", "out"]


def check_run(alone):
    expected = what_was_trained(alone)

    def check(out, ended, promise):
        begun = re.search(r"resumed at step (\d+) of", ended.out)
        if "this run is finished" not in ended.out:
            if promise["finished"]:
                return "a finished run was not found"
            if promise["step"] > (int(begun[1]) if begun else 0):
                return f"the checkpoint of step {promise['step']} was synced and is lost"
        return difference(what_was_trained(out), expected)

    return check


@pytest.fixture
def folder(tmp_path):
    path = tmp_path.resolve() / "recorded"
    path.mkdir()
    return path


def test_a_run_that_the_power_cuts_goes_on_to_the_same_bytes(dtrain, task, folder):
    run = ["train", *task, *RUN]
    operations, disk = recorded(dtrain, folder, run)
    check_states(dtrain, folder, operations, disk, run, 2, check_run(folder / "out"))


def is_of_the_run_before(ended, promise):
    """Refused for what is still there of the run that was to be replaced: said, and what to do."""
    return (ended.code == 2 and promise["step"] == 0 and not promise["finished"]
            and "method was 'full' and is now 'lora" in ended.err and "--overwrite" in ended.err)


@pytest.mark.parametrize("before", ["the same", "another"])
def test_one_that_replaces_a_finished_run_goes_on_or_is_told_from_that(dtrain, task, folder, before):
    run = ["train", *task, *RUN]
    another = {"lora": "full", "8": "2", "2": "1"} if before == "another" else {}
    dtrain.succeeds("train", *task, *(another.get(word, word) for word in RUN), cwd=folder)
    operations, disk = recorded(dtrain, folder, [*run, "--overwrite"])
    check_states(dtrain, folder, operations, disk, run, 1, check_run(folder / "out"),
                 is_of_the_run_before if before == "another" else never)


def check_study(alone):
    expected = what_was_found(alone)

    def check(out, ended, promise):
        found = re.search(r"(\d+) trials are finished already", ended.out)
        if promise["trials"] > (int(found[1]) if found else 0):
            return f"of {promise['trials']} trials in the journal some are lost"
        return difference(what_was_found(out), expected)

    return check


def test_a_study_that_the_power_cuts_goes_on_to_the_same_results(dtrain, task, folder):
    study = ["compare", *task, "--methods", "head,bitfit", "--samples", "60", "--max-steps", "4", "--seeds", "1", "--lrs",
             "0.001,0.01", "--output", "out"]
    operations, disk = recorded(dtrain, folder, study)
    check_states(dtrain, folder, operations, disk, study, 1, check_study(folder / "out"))
