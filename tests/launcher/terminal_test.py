"""What a person sees: one rank writes; a line that moves on a terminal, plain lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios


def on_a_terminal(dtrain, *arguments, columns=80):
    """What the program writes to a terminal of that width."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([dtrain.program, *map(str, arguments)], cwd=dtrain.folder, env=dtrain.environment,
                               stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:
        pass  # the other end is closed
    os.close(controller)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_the_first_lines_say_what_runs_where_on_what(dtrain, task):
    ended = dtrain.succeeds("train", *task, "--method", "lora", "--max-steps", "4", "--samples", "90", ranks=2)
    first = ended.out.splitlines()[:5]
    patterns = [r"2 ranks \(back end mpi\) on the CPU, 1 thread each on \d+ cores?, fp32 matmuls \(as asked\)",
                r"columns: text: text, label: label",
                r"data: train, 3 classes, 90 of 120 training and 30 dev examples, test 45",
                r"model: tiny\d*, 999,171 parameters, pooler pooling",
                r"method: lora, learning rate 0\.0015, 2,147 trainable parameters \(0\.215 %\), 8\.4 KiB all-reduced a step"]
    for line, pattern in zip(first, patterns, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_the_last_lines_are_the_metrics_and_where_the_files_are(dtrain, task, tmp_path):
    ended = dtrain.succeeds("train", *task, "--max-steps", "4", "--output", "out", ranks=2)
    lines = ended.out.splitlines()
    assert re.search(r"accuracy .* log-loss", lines[-8]), ended
    assert lines[-6].startswith("dev ") and lines[-5].startswith("test "), ended
    assert re.fullmatch(r"\d+ samples/s, .* of training in all, best at step \d of 4, peak memory .*", lines[-3]), ended
    assert re.fullmatch(r"[\d.]+ [KMGT]?FLOP in matmuls.*", lines[-2]), ended
    written = re.fullmatch(r"written: (\S+) \(.*\), (\S+)", lines[-1])
    assert written and all((tmp_path / path).exists() for path in written.groups()), ended
    assert ended.out.count("written:") == 1, "one rank writes"


def test_progress_moves_on_one_line_of_a_terminal(dtrain, task):
    shown = on_a_terminal(dtrain, "train", *task, "--max-steps", "300", "--batch-size", "64")
    moving = re.findall(r"\r\x1b\[K(step \d+/300 [^\r\n]*)", shown)
    assert len(moving) >= 2, shown
    assert re.fullmatch(r"step \d+/300  loss [\d.]+  lr [\d.e+-]+  \d+ samples/s  [^\n]+ left", moving[0]), moving[0]
    # Nothing of it is left among the lines that stay.
    stays = [re.split(r"\r\x1b\[K", line.rstrip("\r"))[-1] for line in shown.split("\n")]
    assert not any(line.startswith("step ") for line in stays), shown


def test_progress_never_wraps(dtrain, task):
    shown = on_a_terminal(dtrain, "train", *task, "--max-steps", "200", "--batch-size", "64", columns=30)
    moving = re.findall(r"\r\x1b\[K(step [^\r\n]*)", shown)
    assert moving and all(len(line) < 30 for line in moving), shown


def test_progress_is_plain_lines_in_a_pipe(dtrain, task):
    process = dtrain.start("train", *task, "--max-steps", "1000000", "--batch-size", "64")
    line = ""
    while not line.startswith("step "):
        line = process.stderr.readline()
        assert process.poll() is None
    process.terminate()
    dtrain.end(process)
    assert "\x1b" not in line and "\r" not in line and re.search(r"samples/s  .* left$", line.strip()), line
