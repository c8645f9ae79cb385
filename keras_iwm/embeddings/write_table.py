"""Embeddings as one file, written a part at a time."""

import json
import zipfile

import numpy as np

_NUM_NAMES = 4096  # written at a time


def write_npz(path, parts, shape, names, labels, class_names, settings):
    """Writes a table as a `.npz` file whose bytes depend on nothing but the table.

    Args:
        path: Path of the file.
        parts: Iterable of `(indices, embeddings)`.
        shape: Shape of all embeddings together.
        names: List of strings, one a row.
        labels: Integers, one a row, or `None`.
        class_names: List of strings, or `None`.
        settings: Dictionary for JSON; `settings["dtype"]` is that of the embeddings.
    """
    with zipfile.ZipFile(path, "w") as archive:
        embeddings = (part.tobytes() for _, part in parts)
        _write_array(archive, "embeddings", shape, settings["dtype"], embeddings)
        width = max(map(len, names))
        blocks = (
            np.array(names[start : start + _NUM_NAMES], f"<U{width}").tobytes()
            for start in range(0, len(names), _NUM_NAMES)
        )
        _write_array(archive, "names", (len(names),), f"<U{width}", blocks)
        others = {"settings": np.array(json.dumps(settings))}
        if labels is not None:
            others |= {"labels": labels, "class_names": np.array(class_names)}
        for name, array in others.items():
            _write_array(archive, name, array.shape, array.dtype, [array.tobytes()])


def _write_array(archive, name, shape, dtype, blocks):
    """Writes an array, of which blocks of bytes come one at a time."""
    # Without a name alone, the time of writing would stand in the file.
    member = zipfile.ZipInfo(f"{name}.npy")
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    with archive.open(member, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(block)


def write_parquet(path, parts, shape, names, labels, class_names, settings):
    """Writes a table as a Parquet file; the arguments are those of `write_npz`."""
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.from_numpy_dtype(settings["dtype"])
    for size in shape[:0:-1]:
        kind = pyarrow.list_(kind, size)
    fields = [("name", pyarrow.string()), ("embedding", kind)]
    if labels is not None:
        fields += [("label", pyarrow.int32()), ("class", pyarrow.string())]
    metadata = {"keras_iwm": json.dumps({**settings, "class_names": class_names})}
    schema = pyarrow.schema(fields, metadata)
    row = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for indices, part in parts:
            rows, row = slice(row, row + len(indices)), row + len(indices)
            column = pyarrow.array(part.ravel())
            for size in shape[:0:-1]:
                column = pyarrow.FixedSizeListArray.from_arrays(column, size)
            columns = [names[rows], column]
            if labels is not None:
                columns += [labels[rows], [class_names[i] for i in labels[rows]]]
            writer.write_table(pyarrow.table(columns, schema=schema))
