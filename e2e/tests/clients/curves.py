"""Reads curves as TensorBoard does: curves.py FOLDER STEPS. Prints what the last step gave."""
import json
import sys

from tensorboard.backend.event_processing import event_accumulator

folder, steps = sys.argv[1], int(sys.argv[2])
board = event_accumulator.EventAccumulator(folder, size_guidance={event_accumulator.SCALARS: 0})
board.Reload()
tags = set(board.Tags()["scalars"])
wanted = {"train/loss", "train/accuracy", "train/learning_rate", "time/step_ms", "test/loss", "test/accuracy"}
assert wanted <= tags, tags
loss = board.Scalars("train/loss")
made = [e.step for e in loss]
# The step in whose commit a designer was killed may be missing, and none may be there twice.
assert made == sorted(set(made)) and made[-1] == steps and len(made) >= steps - 1, made
assert all(e.value > 0 for e in board.Scalars("time/step_ms"))
assert [e.step for e in board.Scalars("test/loss")] == [steps]
print(json.dumps({"loss": loss[-1].value, "learningRate": board.Scalars("train/learning_rate")[-1].value}))
