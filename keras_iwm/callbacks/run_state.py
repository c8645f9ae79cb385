"""What of a run stands beside the model: seeds, averages, callbacks, its history."""

import csv
import math
import pathlib
import warnings

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import (
    count_processes,
    process_index,
    read_piece,
    seed_states,
)
from keras_iwm.saving.write_shards import own_pieces
from keras_iwm.whole_file import whole_file


def restore_variables(model, arrays, name):
    """Sets the seeds or the metrics of a model; returns whether they are the same."""
    variables = loose_variables(model)[name]
    stored = [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}/")]
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in stored]:
        return False
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)
    return True


def restore_averages(model, arrays, dataset):
    """Sets the metrics of an epoch as they were when the run was saved within it."""
    if not restore_variables(model, arrays, "metrics"):
        # On TensorFlow compiled metrics have no values before the first step.
        model._symbolic_build(data_batch=dataset[0])
    if not restore_variables(model, arrays, "metrics"):
        warnings.warn(
            "The metrics are not those of the stopped run: the averages of this epoch "
            "leave out the steps before it stopped.",
            stacklevel=3,
        )


def restore_callbacks(callbacks, run, arrays):
    """Sets the attributes that callbacks of a stopped run had changed."""
    classes = [type(callback).__name__ for callback in callbacks]
    stored = [state["class"] for state in run["callbacks"]]
    if classes != stored:
        raise ValueError(
            "`callbacks` must be those of the stopped run, in their order, for their "
            f"state goes on: {stored}. Received: {classes}."
        )
    for number, callback in enumerate(callbacks):
        vars(callback).update(run["callbacks"][number]["values"])
        lists = {}
        for key in sorted(arrays):
            owner, name, *place = key.split("/")
            if place and owner == str(number):
                lists.setdefault(name, []).append(arrays[key])
        vars(callback).update(lists)


def restore_history(model, record):
    """Makes the history of `fit` begin with the epochs that a run has behind it."""
    model.history.epoch = [epoch for epoch, _ in record]
    for name in dict.fromkeys(name for _, logs in record for name in logs):
        values = [logs.get(name, float("nan")) for _, logs in record]
        model.history.history[name] = values


def plain_values(callback):
    """The attributes of a callback that JSON can hold."""
    values = {}
    for name, value in vars(callback).items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (bool, int, float, str, type(None))):
            values[name] = value
    return values


def mend_history(path, record):
    """Makes the file of a run's history end where the run goes on.

    Lines of epochs that will run again are dropped; lines that a crash has swallowed
    are written anew.

    Args:
        path: Path of the file, which need not exist.
        record: List of pairs of an epoch that the run has behind it and its log.
    """
    path, lines = pathlib.Path(path), []
    if path.is_file():
        with open(path, newline="") as file:
            lines = list(csv.reader(file))
    # A crash in the first epoch leaves an empty file, one while writing half a line.
    epochs = [str(epoch) for epoch, _ in record]
    kept = lines[:1] + [
        line for line in lines[1:] if len(line) == len(lines[0]) and line[0] in epochs
    ]
    if record and [line[0] for line in kept[1:]] != epochs:
        names = sorted({name for _, logs in record for name in logs})
        rows = [[epoch, *(logs.get(k, "") for k in names)] for epoch, logs in record]
        kept = [["epoch", *names], *rows]
    if kept != lines:
        with whole_file(path) as unfinished, open(unfinished, "w", newline="") as file:
            csv.writer(file).writerows(kept)


def is_better(value, best, mode):
    """Whether a value of the log beats the best one; none and NaN do not."""
    if value is None or math.isnan(value):
        return False
    if best is None:
        return True
    return value < best if mode == "min" else value > best


def not_finite(model, sharded):
    """Paths of the weights and of the optimizer's values that are not finite.

    If `sharded`, each process looks at its part of them.
    """
    variables = [
        variable
        for variable in [*model.weights, *model.optimizer.variables]
        if keras.backend.is_float_dtype(variable.dtype)
    ]
    if sharded:
        pieces = own_pieces(variables, process_index(), count_processes())
        values = ((variables[i], read_piece(variables[i], at)) for i, at in pieces)
    else:
        values = ((v, ops.convert_to_numpy(v)) for v in variables)
    return [
        variable.path
        for variable, value in values
        if not np.isfinite(value.astype("float32", copy=False)).all()
    ]


def loose_variables(model):
    """What Keras stores in no file: seeds, and the averages of an epoch."""
    return {"seeds": seed_states(model), "metrics": model.metrics_variables}
