"""A run in one file, or in a folder of shards."""

import contextlib
import json
import re
import warnings
import zipfile

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import alone, ask_all, count_processes, process_index
from keras_iwm.callbacks.run_state import loose_variables, not_finite, plain_values
from keras_iwm.saving.load_shards import load_shards
from keras_iwm.saving.shard_folder import ShardFolder
from keras_iwm.saving.write_shards import INDEX, remove_shards, write_shards
from keras_iwm.whole_file import whole_file

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?(\.keras)?")
_RUN, _ARRAYS = "run.json", "run.npz"


def run_path(folder, epoch, step, sharded):
    """Path of a run after `epoch` epochs and `step` steps of the next."""
    within = f"_step_{step:06d}" if step else ""
    return folder / f"epoch_{epoch:04d}{within}{'' if sharded else '.keras'}"


def find_runs(folder):
    """Returns `(epoch, step, path)` of every run in a folder, newest last."""
    return [run for run in _all_runs(folder) if _is_finished(run[2])]


def refuse_further_run(folder, epoch, step):
    """Refuses a folder of a run that has come further than where this one starts."""
    runs = find_runs(folder)
    if runs and runs[-1][:2] > (epoch, step):
        raise ValueError(
            "`folder` holds the checkpoint of a run that has come further: "
            f"{runs[-1][2]}, while this run starts at epoch {epoch}. Go on with that "
            "run by `resume`, or use another folder."
        )


def save_run(path, model, run, callbacks, keep):
    """Writes a run, if it is finite, and removes all but the newest.

    All processes must ask. The first one alone writes a file.

    Args:
        path: Path, of a folder if it has no suffix.
        model: The compiled `keras.Model`.
        run: Dictionary for JSON: what the caller keeps.
        callbacks: Pairs of a callback and its attributes when the run began.
        keep: Positive integer, how many runs stay.

    Returns:
        Whether this process has written.
    """
    sharded = not path.suffix
    with contextlib.nullcontext() if sharded else alone(model):
        if not sharded and process_index() > 0:
            return False
        names = not_finite(model, sharded)
        if ask_all(len(names))() if sharded else names:
            warnings.warn(
                f"{path} is not written: {len(names)} values of the run are not finite "
                f"any more, such as {names[:1]}. The checkpoints before stay.",
                stacklevel=3,
            )
            return False
        write_run(path, model, run, callbacks)
        if process_index() == 0:
            _remove_old_runs(path.parent, keep)
    return True


def _remove_old_runs(folder, keep):
    """Removes all runs but the newest, and what was not written to its end."""
    kept = [path for _, _, path in find_runs(folder)[-keep:]]
    for _, _, path in _all_runs(folder):
        if path in kept:
            continue
        if path.is_dir():
            remove_shards(path)
        else:
            path.unlink()


def _all_runs(folder):
    """`(epoch, step, path)` of every run in a folder, also if it is not finished."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    found = ((int(m[1]), int(m[2] or 0), path) for m, path in matches if m)
    return sorted(run for run in found if run[2].suffix or run[2].is_dir())


def _is_finished(path):
    """Whether a run was written to its end; files get their name only then."""
    return bool(path.suffix) or (path / INDEX).is_file()


def write_run(path, model, run, callbacks):
    """Saves a model, with its optimizer, and everything else of a run.

    Args:
        path: Path, in one file if it ends in .keras; else of a folder, which all
            processes write.
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
    for name, variables in loose_variables(model).items():
        for place, variable in enumerate(variables):
            arrays[f"{name}/{place:06d}"] = ops.convert_to_numpy(variable)
    if not path.suffix:
        write_shards(model, path, run, arrays)
        return
    with whole_file(path) as unfinished:
        model.save(unfinished)
        # Keras reads past what it does not know, and zip keeps a checksum of each.
        with zipfile.ZipFile(unfinished, "a") as file:
            file.writestr(_RUN, json.dumps(run))
            with file.open(_ARRAYS, "w") as stream:
                np.savez(stream, **arrays)


def read_run(path):
    """Returns what `write_run` was given, and its arrays, after a look at all bytes.

    Of a folder each process looks at its share.

    Args:
        path: Path of the file, or of the folder.

    Returns:
        Tuple of a function without arguments that makes the model, the run and its
        arrays.

    Raises:
        ValueError: If any byte is damaged.
    """
    if not path.suffix:
        try:
            shards = ShardFolder(path)
            shards.check_bytes(process_index(), count_processes())
        except OSError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        arrays = {name: np.array(values) for name, values in shards.arrays.items()}
        return lambda: load_shards(shards), shards.facts, arrays
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
    return lambda: keras.models.load_model(path), run, arrays


def read_newest_run(folder):
    """Reads the newest run in a folder that is whole; sets damaged ones aside.

    All processes must ask, and find the same.

    Returns:
        Tuple `(epoch, step, load, run, arrays)`, of which `load` makes the model, or
        `None` if there is no run.

    Raises:
        ValueError: If there are runs, and all of them are damaged; if processes do
            not find the same.
    """
    damaged = []
    for epoch, step, path in [*reversed(find_runs(folder)), (0, 0, None)]:
        _check_same(folder, (epoch, step))
        if path is None:
            break
        found = error = None
        try:
            found = (epoch, step, *read_run(path))
        except ValueError as damage:
            error = damage
        if ask_all(int(error is not None))():
            error = error or ValueError(f"{path} is damaged, as another process found")
        if error is not None:
            damaged.append((path, error))
            continue
        for bad, error in damaged:
            aside = bad.with_suffix(".damaged")
            warnings.warn(
                f"{error}. It is set aside as {aside.name}; the run goes on from "
                f"{path.name}.",
                stacklevel=3,
            )
            with contextlib.suppress(OSError):  # Another process did.
                bad.replace(aside)
        return found
    if damaged:
        raise ValueError(
            f"{folder} holds no checkpoint that is whole. {damaged[0][1]}. Restore one "
            "from a copy, or start a new run in another folder."
        )
    return None


def _check_same(folder, place):
    """Refuse that processes go on from different places, pairs of epoch and step."""
    newest = tuple(ask_all(number)() for number in place)
    # All of them stop, also those that have found the newest.
    if ask_all(int(place != newest))():
        raise ValueError(
            "`folder` must be one that all processes see. Received: "
            f"{str(folder)!r}, where process {process_index()} finds (epoch, step) "
            f"{place} and another one {newest}. Use a shared folder."
        )
