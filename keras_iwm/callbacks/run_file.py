"""What stands beside the model in the file of a run."""

import contextlib
import csv
import json
import math
import pathlib
import re
import warnings
import zipfile

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import ask_all, process_index, seed_states
from keras_iwm.whole_file import whole_file

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.keras")
_RUN, _ARRAYS = "run.json", "run.npz"


def run_path(folder, epoch, step):
    """Path of the file of a run after `epoch` epochs and `step` steps of the next."""
    within = f"_step_{step:06d}" if step else ""
    return folder / f"epoch_{epoch:04d}{within}.keras"


def find_runs(folder):
    """Returns `(epoch, step, path)` of every run's file in a folder, newest last."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(m[1]), int(m[2] or 0), path) for m, path in matches if m)


def save_run(path, model, run, callbacks, keep):
    """Writes a run if it is well, and removes the oldest; returns whether it was well.

    Args:
        path: Path of the file.
        model: The compiled `keras.Model`.
        run: Dictionary for JSON: what the caller keeps.
        callbacks: Pairs of a callback and its attributes when the run began.
        keep: Positive integer, how many of the newest files to keep.
    """
    if names := not_finite(model):
        warnings.warn(
            f"{path} is not written: {len(names)} values of the run are not finite "
            f"any more, such as {names[0]!r}. The checkpoints before stay.",
            stacklevel=3,
        )
        return False
    write_run(path, model, run, callbacks)
    for _, _, old in find_runs(path.parent)[:-keep]:
        old.unlink()
    return True


def refuse_further_run(folder, epoch, step):
    """Raises a ValueError if a folder holds a run that has come further."""
    runs = find_runs(folder)
    if runs and runs[-1][:2] > (epoch, step):
        raise ValueError(
            "`folder` holds the checkpoint of a run that has come further: "
            f"{runs[-1][2]}, while this run starts at epoch {epoch}. Go on with "
            "that run by `resume`, or use another folder."
        )


def check_same_place(folder, place):
    """Raises a ValueError if another process has found a newer file.

    Args:
        folder: Path of the folder.
        place: Pair of integers, epoch and step of the file that this one has found.
    """
    newest = tuple(ask_all(number)() for number in place)
    if place != newest:
        raise ValueError(
            "`folder` must be one that all processes see. Received: "
            f"{str(folder)!r}, where process {process_index()} finds (epoch, step) "
            f"{place} and another one {newest}. Use a shared folder."
        )


def write_run(path, model, run, callbacks):
    """Saves a model, with its optimizer, and everything else of a run, in one file.

    Args:
        path: Path of the file.
        model: The compiled `keras.Model`.
        run: Dictionary for JSON: what the caller keeps.
        callbacks: Pairs of a callback and its attributes when the run began.
    """
    run, arrays = {**run, "callbacks": []}, {}
    for number, (callback, start) in enumerate(callbacks):
        values = {
            name: value
            for name, value in plain_values(callback).items()
            if name not in start or value != start[name]
        }
        run["callbacks"].append({"class": type(callback).__name__, "values": values})
        for name, value in vars(callback).items():
            if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                for place, array in enumerate(value):
                    arrays[f"{number}/{name}/{place:06d}"] = array
    for name, variables in _loose_variables(model).items():
        for place, variable in enumerate(variables):
            arrays[f"{name}/{place:06d}"] = ops.convert_to_numpy(variable)
    with whole_file(path) as unfinished:
        model.save(unfinished)
        # Keras reads past what it does not know, and zip keeps a checksum of each.
        with zipfile.ZipFile(unfinished, "a") as file:
            file.writestr(_RUN, json.dumps(run))
            with file.open(_ARRAYS, "w") as stream:
                np.savez(stream, **arrays)


def read_run(path):
    """Returns what `write_run` was given, and its arrays, after a look at all bytes.

    Args:
        path: Path of the file.

    Raises:
        ValueError: If any byte of the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if (damaged := file.testzip()) is not None:
                raise ValueError(f"its part {damaged} does not have its checksum")
            run = json.loads(file.read(_RUN))
            with file.open(_ARRAYS) as stream:
                arrays = dict(np.load(stream, allow_pickle=False))
    except (zipfile.BadZipFile, OSError, KeyError, EOFError, NotImplementedError,
            RuntimeError, ValueError) as error:  # fmt: skip
        raise ValueError(f"{path} is damaged: {error}") from error
    return run, arrays


def read_newest_run(folder):
    """Reads the newest run in a folder that is whole; sets damaged ones aside.

    Returns:
        Tuple `(path, epoch, step, run, arrays)`, or `None` if there is no file.

    Raises:
        ValueError: If there are files, and all of them are damaged.
    """
    damaged = []
    for epoch, step, path in reversed(find_runs(folder)):
        try:
            found = (path, epoch, step, *read_run(path))
        except ValueError as error:
            damaged.append((path, error))
            continue
        for bad, error in damaged:
            aside = bad.with_suffix(".damaged")
            warnings.warn(
                f"{error}. It is set aside as {aside.name}; the run goes on from "
                f"{path.name}.",
                stacklevel=3,
            )
            with contextlib.suppress(FileNotFoundError):  # Another process did.
                bad.replace(aside)
        return found
    if damaged:
        raise ValueError(
            f"{folder} holds no checkpoint that is whole. {damaged[0][1]}. Restore one "
            "from a copy, or start a new run in another folder."
        )
    return None


def restore_variables(model, arrays, name):
    """Sets the seeds or the metrics of a model; returns whether they are the same."""
    variables = _loose_variables(model)[name]
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


def not_finite(model):
    """Paths of the weights and of the optimizer's values that are not finite."""
    found = []
    for variable in [*model.weights, *model.optimizer.variables]:
        if keras.backend.is_float_dtype(variable.dtype):
            value = ops.convert_to_numpy(ops.cast(variable, "float32"))
            if not np.isfinite(value).all():
                found.append(variable.path)
    return found


def _loose_variables(model):
    """What Keras stores in no file: seeds, and the averages of an epoch."""
    return {"seeds": seed_states(model), "metrics": model.metrics_variables}
