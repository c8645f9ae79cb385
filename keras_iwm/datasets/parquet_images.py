"""The images in Parquet files, to be packed into shards."""

import io
import json
import warnings

import numpy as np
from PIL import Image
from tqdm import tqdm

from keras_iwm.datasets.decode_image import image_suffixes
from keras_iwm.datasets.find_images import describe
from keras_iwm.datasets.member_names import plain_name
from keras_iwm.datasets.shard_index import MAX_LABELS
from keras_iwm.datasets.tar_members import MAX_SIZE

# Bytes of the row groups whose images are mixed, and held in memory for it.
WINDOW = 256_000_000
_USUAL = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}


class ParquetImages:
    """Names, sizes, labels and contents of the images in Parquet files.

    Args:
        paths: List of `pathlib.Path`, of one schema.
        image_column: String or `None`, for the only one that can be meant.
        label_column: String or `None`, for `label` or `labels`, or none.

    Raises:
        ValueError: If files cannot be read, or columns are not there or hold
            something else.
    """

    def __init__(self, paths, image_column=None, label_column=None):
        from pyarrow import ArrowException, parquet

        self._files = []
        for path in paths:
            try:
                self._files.append(parquet.ParquetFile(path))
            except (ArrowException, OSError) as error:
                raise ValueError(
                    f"`parquet` must be Parquet files. {path} cannot be read: {error}"
                ) from error
        self._stems = [plain_name(path.stem) for path in paths]
        schema = self._files[0].schema_arrow
        self._image_column = find_image_column(schema, image_column)
        self._label_column = find_label_column(schema, label_column)
        for path, file in zip(paths, self._files, strict=True):
            if not file.schema_arrow.equals(schema):
                raise ValueError(
                    f"`parquet` must be files of one schema. {path} has another than "
                    f"{paths[0]}: pack them apart."
                )
        self._held, self._window = {}, None
        self._survey()
        self.class_names = None
        if self.labels is not None:
            count = int(self.labels.max()) + 1
            self.class_names = class_names_of(schema, self._label_column, count)

    def order(self, random):
        """Returns the images in the order of the shards, int64 `(num_images,)`.

        Row groups come in a random order. As many as fit into a window are mixed.
        """
        groups = random.permutation(len(self._groups))
        rows = np.split(np.arange(len(self.names)), self._starts[1:-1])
        volumes = np.array([self.sizes[part].sum() for part in rows])
        self._windows = np.zeros(len(groups), "int64")
        self._windows[groups] = np.cumsum(volumes[groups]) // WINDOW
        parts = [
            random.permutation(
                np.concatenate([rows[g] for g in groups if self._windows[g] == window])
            )
            for window in np.unique(self._windows)
        ]
        return np.concatenate(parts)

    def open(self, index):
        """Returns the binary stream of an image.

        Raises:
            ValueError: If it has another size than before.
        """
        group = int(np.searchsorted(self._starts, index, "right")) - 1
        if self._windows[group] != self._window:
            self._held, self._window = {}, self._windows[group]
        if group not in self._held:
            self._held[group] = self._read(group)[0]
        content = self._held[group][int(self._rows[index])].as_py()
        if content is None or len(content) != self.sizes[index]:
            raise ValueError("A Parquet file has changed since packing began.")
        return io.BytesIO(content)

    def _survey(self):
        """Goes through all images, for their names, sizes, kinds and labels."""
        self._groups = [
            (number, group)
            for number, file in enumerate(self._files)
            for group in range(file.num_row_groups)
        ]
        suffixes = suffixes_of_formats()
        left_out, names, numbers, starts = {}, [], [], [0]
        first, before = 0, None
        for place in tqdm(range(len(self._groups)), desc="Reading Parquet"):
            number = self._groups[place][0]
            first, before = (0 if number != before else first), number
            images, labels = self._read(place)
            for row in range(len(images)):
                content = images[row].as_py()
                name = f"{self._stems[number]}-{first + row:08d}"
                problem, suffix = kind_of(content, suffixes)
                if problem:
                    count, example = left_out.get(problem, (0, name))
                    left_out[problem] = count + 1, example
                    continue
                label = None if labels is None else labels[row].as_py()
                valid = label is not None and 0 <= label < MAX_LABELS
                names.append(name + suffix)
                numbers.append((row, len(content), label if valid else -1))
            first += len(images)
            starts.append(len(names))
        if not names:
            raise ValueError(
                f"`parquet` must hold images. Column {self._image_column!r} has none."
            )
        self.names, self._starts = names, np.array(starts)
        self._rows, self.sizes, labels = np.array(numbers, "int64").T
        self.labels = None if (labels < 0).any() else labels.astype("int32")
        if self._label_column and self.labels is None:
            count = int((labels < 0).sum())
            left_out["labels, for not all images have one"] = (
                len(labels) - count,
                names[int(np.argmax(labels < 0))],
            )
        if left_out:
            warnings.warn(f"Left out: {describe(left_out)}.", stacklevel=5)

    def _read(self, place):
        """Returns the images of a row group, bytes for Arrow, and labels or `None`."""
        number, group = self._groups[place]
        columns = [self._image_column, *filter(None, [self._label_column])]
        table = self._files[number].read_row_group(group, columns=columns)
        images = table.column(self._image_column).combine_chunks()
        if hasattr(images, "field"):
            images = images.field("bytes")
        return images, table.column(self._label_column) if self._label_column else None


def find_image_column(schema, name):
    """Returns the name of the column of images.

    They are bytes of files, or, as Hugging Face's data sets have them, structures with
    these as `bytes`.
    """
    found = [field.name for field in schema if _holds_bytes(field.type)]
    if name is None and len(found) == 1:
        return found[0]
    if name not in found:
        raise ValueError(
            "`image_column` must be a column with the bytes of image files, of which "
            f"there are: {', '.join(found) or 'none'}. Received: {name!r}"
        )
    return name


def find_label_column(schema, name):
    """Returns the name of the column of integers that are labels, or `None`."""
    from pyarrow import types

    found = [field.name for field in schema if types.is_integer(field.type)]
    if name is None:
        return next((usual for usual in ("label", "labels") if usual in found), None)
    if name not in found:
        raise ValueError(
            "`label_column` must be a column of integers, of which there are: "
            f"{', '.join(found) or 'none'}. Received: {name!r}"
        )
    return name


def class_names_of(schema, column, num_classes):
    """Returns the names that Hugging Face notes for a column, or the numbers."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])
        names = noted["info"]["features"][column]["names"]
        if len(names) >= num_classes and all(type(name) is str for name in names):
            return names
    except (KeyError, TypeError, ValueError):
        pass
    return [str(number) for number in range(num_classes)]


def suffixes_of_formats():
    """Returns a dictionary from Pillow's formats to a suffix that is read."""
    known = image_suffixes()
    found = {
        format: suffix
        for suffix, format in sorted(Image.registered_extensions().items())
        if suffix in known
    }
    return {name: _USUAL.get(name, suffix) for name, suffix in found.items()}


def kind_of(content, suffixes):
    """Returns what makes bytes unusable or `None`, and the suffix of their kind."""
    if not content:
        return "rows without an image", None
    if len(content) > MAX_SIZE:
        return "images of more than a gigabyte", None
    try:
        with Image.open(io.BytesIO(content)) as image:
            suffix = suffixes.get(image.format)
    except Exception:  # Pillow's decoders raise errors of many kinds
        suffix = None
    return (None, suffix) if suffix else ("rows that hold no image", None)


def _holds_bytes(kind):
    """Whether values of a type can be image files."""
    from pyarrow import types

    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return types.is_binary(kind) or types.is_large_binary(kind)
