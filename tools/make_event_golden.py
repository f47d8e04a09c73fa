#!/usr/bin/env python3
"""The events of src/train/event_file_test.cc as TensorBoard's own writer makes them, read back by TensorBoard's own reader.

    tools/make_event_golden.py tests/golden/events

Needs the package tensorboard (tools only). --read FILE prints what TensorBoard reads in a file or folder.
"""
import sys
from pathlib import Path

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(step, wall_time, values):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return event_pb2.Event(wall_time=wall_time, step=step, summary=summary)


EVENTS = [
    event_pb2.Event(wall_time=1790000000.25, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=1790000000.25, step=40,
                    session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)),
    scalars(0, 1790000001.0, [("loss", 10.5), ("rate", 0.0)]),
    scalars(1, 1790000001.5, [("loss", -0.125)]),
    scalars(300, 1790000002.0, [("loss", 2.75), ("tokens", 16384), ("gradient_norm", 1e30)]),
    scalars(1 << 40, 1790000004.0, [("t" * 200, 1.0)]),
]


def show(path):
    read = event_accumulator.EventAccumulator(path, size_guidance={event_accumulator.SCALARS: 0})
    read.Reload()
    for tag in read.Tags()["scalars"]:
        print(tag[:40], [(e.step, e.value) for e in read.Scalars(tag)])


def main():
    if sys.argv[1] == "--read":
        return show(sys.argv[2])
    path = Path(sys.argv[1]) / "events.out.tfevents.1790000000.golden"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in EVENTS:
            writer.write(event.SerializeToString())
        writer.flush()
    show(str(path))


if __name__ == "__main__":
    main()
