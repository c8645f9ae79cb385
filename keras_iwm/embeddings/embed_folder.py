"""Embeddings of all images of a folder."""

import csv
import hashlib
import json
import os
import shutil
from typing import Any, Literal

import numpy as np
from keras import ops
from tqdm import tqdm

from keras_iwm.arguments import (
    as_boolean,
    as_choice,
    as_count,
    as_name,
    as_object,
    as_optional,
    as_path,
)
from keras_iwm.array_arguments import check_images
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.datasets.open_images import open_images
from keras_iwm.datasets.open_store import is_url
from keras_iwm.datasets.require_pyarrow import require_pyarrow
from keras_iwm.distribution.device_batches import even_batch
from keras_iwm.embeddings.shards import Shards
from keras_iwm.embeddings.write_table import write_npz, write_parquet
from keras_iwm.type_aliases import Path
from keras_iwm.version import __version__
from keras_iwm.whole_file import whole_file

_WRITERS = {".npz": write_npz, ".parquet": write_parquet}
_SHARD_IMAGES, _SHARD_BYTES = 4096, 2**26  # the most in one part


def embed_folder(
    encoder: ViTEncoder,
    folder: Path,
    output: Path,
    per_patch: bool = False,
    batch_size: int = 64,
    dtype: Literal["float32", "float16"] = "float32",
    bad_files: Literal["skip", "raise"] = "skip",
    num_processes: int = 0,
    encoder_name: str | None = None,
) -> dict[str, Any]:
    """Writes what an encoder makes of all images of a folder into one file.

    The memory that it takes hardly grows with the folder: the names, some batches and
    a part of at most 64 MB are held. Parts are written to a folder beside the output,
    `embeddings.npz.unfinished`, which goes once the file is whole; for a moment both
    are there. After a kill call it again with the same arguments: it goes on behind
    the last part, and the file is the same, bit for bit. `load_embeddings` opens it.

    A `.npz` file holds `names`, `embeddings`, `settings` in JSON and, if the folder
    has class folders, `labels` and `class_names`; `np.load` reads it too. Parquet has
    the columns `name`, `embedding`, `label` and `class`.

    Files that cannot be used have no row. They are listed with the reason, by
    `path,reason`, in a file beside the output, `embeddings.npz.skipped.csv`, which is
    there only if there are any; a warning counts them, and more than a tenth of all
    files is an error.

    Args:
        encoder: `ViTEncoder`. Pass `model.feature_encoder`, or what
            `keras_iwm.saving.load_encoder` loads.
        folder: Path of the folder, flat or with a folder for each class, as
            `ImageFolder` takes it; or of shards, or their URL, as `ImageShards` does.
        output: Path of the file to write, which must end in `.npz`, or in `.parquet`
            (needs pyarrow). It must not be there yet.
        per_patch: Boolean, whether to keep the latents of all patches, instead of
            their mean.
        batch_size: Positive integer. The last batch is filled up, so that only one
            shape is compiled.
        dtype: `"float32"` or `"float16"`, of the numbers in the file.
        bad_files: `"skip"`, or `"raise"` to end with a ValueError at the first one.
        num_processes: Non-negative integer, processes that decode images, instead of
            threads.
        encoder_name: Optional string that is kept in the file, such as the path of
            the model.

    Returns:
        Dictionary: `"num_images"`, the rows that were written, and `"skipped"`, from
        the path of each file that could not be used to the reason.

    Raises:
        ValueError: If the folder cannot be listed, `output` is there already or was
            begun with other arguments, images do not fit the encoder's `value_range`,
            or a row is not finite.
        ImportError: If pyarrow is missing, for a `.parquet` file.

    Example:

    ```python
    import os, tempfile
    from PIL import Image

    folder = tempfile.mkdtemp()
    for number in range(4):
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(os.path.join(folder, f"{number}.png"))
    encoder = keras_iwm.backbones.ViTEncoder(32, 8, 48, 2, 3)
    output = os.path.join(tempfile.mkdtemp(), "embeddings.npz")
    keras_iwm.embeddings.embed_folder(encoder, folder, output)
    ```
    """
    needed = ("hidden_dim", "image_size", "value_range", "num_channels", "num_patches")
    as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
    folder = folder if is_url(folder) else as_path("folder", folder).resolve()
    output = _check_output(output)
    per_patch = as_boolean("per_patch", per_patch)
    batch_size = as_count("batch_size", batch_size)
    settings = {
        "encoder_name": as_optional(as_name, "encoder_name", encoder_name),
        "encoder_sha256": fingerprint(encoder),
        "folder": str(folder),
        "per_patch": per_patch,
        "batch_size": batch_size,
        "dtype": as_choice("dtype", dtype, ("float32", "float16")),
        "keras_iwm": __version__,
    }
    unfinished = output.with_name(f"{output.name}.unfinished")
    shards = Shards(unfinished, settings)
    images = open_images(
        folder,
        encoder.image_size,
        batch_size=batch_size,
        shuffle=False,
        drop_remainder=False,
        num_processes=num_processes,
        num_channels=encoder.num_channels,
        bad_files=bad_files,
        skipped_csv=unfinished / "skipped.csv",
        index=unfinished / "images.index",
    )
    if output.suffix == ".parquet":
        _check_names(images.paths)
    shape = (encoder.num_patches,) if per_patch else ()
    shape += (encoder.hidden_dim,)
    _embed(encoder, images, shards, shape, settings["dtype"])

    indices = shards.indices()
    names = [images.paths.name(index) for index in indices]
    labels = None if images.labels is None else images.labels[indices]
    with whole_file(output) as path:
        _WRITERS[output.suffix](
            path,
            shards.parts(),
            (len(indices), *shape),
            names,
            labels,
            images.class_names,
            settings,
        )
    skipped = _keep_skipped(unfinished / "skipped.csv", output)
    shutil.rmtree(unfinished)
    return {"num_images": len(indices), "skipped": skipped}


def fingerprint(encoder):
    """Returns what changes if an encoder computes something else, in hexadecimals."""
    config = {
        name: value
        for name, value in encoder.get_config().items()
        if name not in ("name", "trainable", "dtype", "part_changes")
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in encoder.weights:
        value = np.ascontiguousarray(ops.convert_to_numpy(ops.cast(weight, "float32")))
        digest.update(str(value.shape).encode() + value.tobytes())
    return digest.hexdigest()


def _check_output(output):
    """The path of a file that can be written, or an error before any work."""
    output = as_path("output", output)
    if output.suffix not in _WRITERS:
        raise ValueError(
            f"`output` must end in {' or '.join(_WRITERS)}. Received: {str(output)!r}."
        )
    if output.exists():
        raise ValueError(
            f"`output` must not be there yet. {output} is: delete it, or take another "
            "name."
        )
    if output.suffix == ".parquet":
        require_pyarrow(", or write a .npz file")
    return output


def _check_names(paths):
    """Refuse names that are no text, before any work."""
    for index in range(len(paths)):
        try:
            paths.name(index).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "`folder` must hold names that are text, for a .parquet file. "
                f"Received: {paths.name(index)!r}. Rename it, or write a .npz file."
            ) from None


def _embed(encoder, images, shards, shape, dtype):
    """Writes the parts that are not there yet."""
    size = min(images.batch_size, images.num_samples)
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    in_shard = max(1, min(_SHARD_IMAGES, _SHARD_BYTES // row_bytes) // size)
    start = len(shards) * in_shard
    batches = images.good_batches(start)
    done = min(start * size, images.num_samples)
    progress = tqdm(desc="Embedding", total=images.num_samples, initial=done)
    rows, checked = [], False
    with progress:
        for number in range(start, len(images)):
            indices, batch = next(batches)
            if len(batch) and not checked:
                check_images(
                    batch,
                    encoder.image_size,
                    encoder.value_range,
                    "folder",
                    encoder.num_channels,
                )
                checked = True
            rows.append((indices, _embed_batch(encoder, batch, size, shape, dtype)))
            _check_finite(images, *rows[-1])
            if len(rows) == in_shard or number + 1 == len(images):
                shards.append(*map(np.concatenate, zip(*rows, strict=True)))
                rows = []
            progress.update(min(size, images.num_samples - number * size))


def _embed_batch(encoder, batch, size, shape, dtype):
    """Embeddings of a batch of any size up to the full one."""
    if not len(batch):
        return np.empty((0, *shape), dtype)
    padding = [(0, even_batch(size) - len(batch))] + [(0, 0)] * 3
    latents = encoder.predict_on_batch(np.pad(batch, padding, mode="edge"))
    latents = np.asarray(latents[: len(batch)], "float32")
    return (latents if len(shape) == 2 else latents.mean(axis=1)).astype(dtype)


def _check_finite(images, indices, embeddings):
    """Refuse rows that no search could use."""
    finite = np.isfinite(embeddings).reshape(len(embeddings), -1).all(axis=1)
    if not finite.all():
        path = images.paths[indices[np.argmin(finite)]]
        raise ValueError(
            f"`folder` must hold images whose features are finite numbers. Those of "
            f"{path} are not: remove or repair it and call this again, which goes on."
        )


def _keep_skipped(path, output):
    """Moves the list of bad files beside the output, if there is one; returns it."""
    beside = output.with_name(f"{output.name}.skipped.csv")
    beside.unlink(missing_ok=True)  # of an earlier output of this name
    if not path.is_file():
        return {}
    os.replace(path, beside)
    options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with open(beside, **options) as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}
