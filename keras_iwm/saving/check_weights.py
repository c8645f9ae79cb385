"""What a file of weights may hold: plain numbers, all of them there."""

import h5py
import numpy as np


def check_weights(file):
    """Refuse a file of weights that holds more, or less, than finite numbers.

    Args:
        file: Binary file in HDF5, as Keras writes it.

    Returns:
        Dictionary from the place of each weight in the file to its shape.

    Raises:
        ValueError: If the weights are refused.
    """
    shapes = {}
    with h5py.File(file, "r") as weights:
        seen = {_address(weights)}
        groups = [weights]
        while groups:  # no recursion: a stranger says how deep groups are
            group = groups.pop()
            for name in group:
                place = f"{group.name.rstrip('/')}/{name}"
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"its {place} refers to another file or place.")
                item = group[name]
                if _address(item) in seen:
                    raise ValueError(f"its {place} is there under two names.")
                seen.add(_address(item))
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    _check_dataset(item, place)
                    shapes[place] = item.shape
                else:
                    raise ValueError(f"its {place} is no weight.")
    return shapes


def _address(item):
    """What tells an item of an HDF5 file from all others."""
    return h5py.h5o.get_info(item.id).addr


def _check_dataset(dataset, place):
    """Refuse a weight that is elsewhere, larger than what is there, or not finite."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"its {place} refers to another file or place.")
    stored = dataset.id.get_storage_size()
    if dataset.shape is None or dataset.chunks or stored < dataset.nbytes:
        raise ValueError(
            f"its {place} declares shape {dataset.shape}, but {stored} bytes are "
            "there; Keras compresses nothing."
        )
    is_bfloat16 = dataset.dtype.str == "|V2" and dataset.attrs.get("dtype") is not None
    if dataset.dtype.kind not in "biuf" and not is_bfloat16:
        raise ValueError(f"its {place} holds no numbers but {dataset.dtype}.")
    values = dataset[...]
    if is_bfloat16:
        finite = (values.view("uint16") & 0x7F80) != 0x7F80  # the exponent's bits
    else:
        finite = np.isfinite(values)
    if not np.all(finite):
        count = values.size - int(np.sum(finite))
        raise ValueError(
            f"its {place} holds NaN or infinity in {count} of {values.size} values. "
            "Training has diverged; use a file from before that."
        )
