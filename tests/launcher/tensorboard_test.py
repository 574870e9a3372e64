"""dtrain --tensorboard: what TensorBoard itself reads of the event files."""

import glob
import struct

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from conftest import log_lines, results

RUN = ["--method", "full", "--batch-size", "8", "--max-steps", "60", "--log-steps", "1"]


def scalars(folder):
    """By tag the (step, value) of each event, as TensorBoard shows them."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def as_float(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def check_run(folder):
    """The events of a run are its log and its metrics."""
    shown = scalars(folder / "tensorboard")
    lines = log_lines(folder)
    for tag, key in (("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("train/gradient_norm", "gradient_norm")):
        assert shown[tag] == [(line["step"], as_float(line[key])) for line in lines], tag
    document = results(folder)
    assert len(shown["dev/log_loss"]) == 4
    for name, value in document["metrics"]["dev"].items():
        if isinstance(value, float):
            assert (document["best_step"], as_float(value)) in shown[f"dev/{name}"]
    for name, value in document["metrics"]["test"].items():
        if isinstance(value, float):
            assert shown[f"test/{name}"] == [(document["steps"], as_float(value))]


def test_has_losses_rates_norms_and_metrics(dtrain, task):
    dtrain.succeeds("train", *task, *RUN, "--tensorboard", "--output", "run", ranks=2)
    check_run(dtrain.folder / "run")


def test_has_a_resumed_run_once(dtrain, task):
    run = ["train", *task, *RUN, "--save-steps", "25", "--tensorboard", "--output", "run"]
    dtrain.succeeds(*run)
    (dtrain.folder / "run" / "results.json").unlink()  # as if it had died then
    for checkpoint in (dtrain.folder / "run" / "checkpoint").glob("step-60"):
        checkpoint.rename(checkpoint.with_name("gone"))
    ended = dtrain.succeeds(*run, "--resume")
    assert "resumed at step 50 of 60" in ended.out, ended
    assert len(glob.glob(str(dtrain.folder / "run" / "tensorboard" / "events.out.tfevents.*"))) > 2
    check_run(dtrain.folder / "run")


def test_records_are_framed_as_tfrecords(dtrain, task):
    dtrain.succeeds("train", *task, *RUN, "--tensorboard", "--output", "run")
    files = glob.glob(str(dtrain.folder / "run" / "tensorboard" / "*"))
    events = []
    for file in files:
        content = open(file, "rb").read()
        begin = len(events)
        while content:
            size, check_of_size = struct.unpack("<QI", content[:12])
            assert check_of_size == masked_crc32c(content[:8])
            record, content = content[12:12 + size], content[12 + size:]
            assert struct.unpack("<I", content[:4])[0] == masked_crc32c(record)
            content = content[4:]
            events.append(Event.FromString(record))
        assert events[begin].file_version == "brain.Event:2"
    assert sum(len(event.summary.value) for event in events) > 4 * 60
    assert all(abs(event.wall_time - events[0].wall_time) < 600 for event in events)


def test_of_a_study_has_a_folder_a_trial(dtrain, task):
    dtrain.succeeds("compare", *task, "--methods", "full,lora", "--samples", "60", "--max-steps", "12", "--seeds", "2", "--lrs",
                    "0.001,0.01", "--tensorboard", "--output", "study", ranks=2)
    document = results(dtrain.folder / "study")
    folders = set()
    for trial in document["trials"]:
        name = f"samples={trial['samples']},lr={trial['learning_rate']},seed={trial['seed']}"
        folder = dtrain.folder / "study" / "tensorboard" / trial["phase"] / trial["method"] / name
        folders.add(folder)
        shown = scalars(folder)
        assert [step for step, _ in shown["train/loss"]] == [10, 12]
        assert shown["dev/log_loss"] == [(point["step"], as_float(point["dev"]["log_loss"])) for point in trial["curve"]]
        if trial["phase"] == "result":
            assert shown["test/accuracy"] == [(trial["steps"], as_float(trial["metrics"]["test"]["accuracy"]))]
        else:
            assert "test/accuracy" not in shown
    assert len(folders) == len(document["trials"]) == 8
    found = {path.parent for path in (dtrain.folder / "study" / "tensorboard").rglob("events.out.tfevents.*")}
    assert found == folders


def test_is_refused_without_a_directory_and_absent_where_it_is_not_asked(dtrain, task):
    dtrain.refuses("train", *task, *RUN, "--tensorboard", code=2, says=["--tensorboard", "--output"])
    dtrain.succeeds("train", *task, *RUN, "--output", "run")
    assert not (dtrain.folder / "run" / "tensorboard").exists()
