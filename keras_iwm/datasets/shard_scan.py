"""Which images lie in tar files, found out by reading their headers."""

import array

import numpy as np
from tqdm import tqdm

from keras_iwm.datasets.decode_image import image_suffixes
from keras_iwm.datasets.folder_walk import OTHER_PICTURES
from keras_iwm.datasets.shard_index import MAX_LABELS
from keras_iwm.datasets.shard_records import ShardRecords
from keras_iwm.datasets.tar_members import tar_members

_MAX_LABEL_LENGTH = 20


class ShardScan:
    """Goes through shards and keeps account of what is left out, as `FolderWalk` does.

    Samples are WebDataset's: files of one name up to its first dot, one behind the
    other. The image of a sample is its first file with the suffix of an image, and its
    label the integer in a `.cls` file. Labels count if each image has one.

    Args:
        store: `LocalStore` or `RemoteStore`.
        sizes: Dictionary from the names of the shards to their bytes.
    """

    kind = "images"

    def __init__(self, store, sizes):
        self.store = store
        self.sizes = sizes
        self.suffixes = image_suffixes()
        self.left_out = {}
        self.lost = set()
        self._names = bytearray()
        self._numbers = array.array("q")  # shard, offset, length and label of each

    def scan(self, quietly=False):
        """Returns `ShardRecords` and their labels, int32 `(num_images,)` or `None`."""
        progress = tqdm(self.sizes.items(), desc="Reading shards", disable=quietly)
        for number, (shard, size) in enumerate(progress):
            try:
                with self.store.open(shard) as file:
                    self._scan_shard(number, shard, size, file)
            except OSError:
                self._leave_out("shards that cannot be read", shard, lost=True)
        numbers = np.array(self._numbers).reshape(-1, 4)
        shards, offsets, lengths, labels = numbers.T.copy()
        labels = labels.astype("int32")
        unlabelled = np.flatnonzero(labels < 0)
        shards = shards.astype("int32")
        parts = self._names, shards, offsets, lengths
        records = ShardRecords(self.store, self.sizes, *parts)
        if len(unlabelled) and len(unlabelled) < len(labels):
            name = records.name(unlabelled[0])
            self.left_out["labels, for not all images have one"] = (
                len(labels) - len(unlabelled),
                name,
            )
        return records, None if len(unlabelled) or not len(labels) else labels

    def _scan_shard(self, number, shard, size, file):
        """Notes the images of a shard."""
        key = image = label = None

        def finish():
            if image is not None:
                name, offset, length = image
                self._names.extend(name.encode("utf-8", "surrogateescape") + b"\0")
                self._numbers.extend((number, offset, length, label))

        for name, offset, length, problem in tar_members(file, size):
            folder, _, last = name.rpartition("/")
            stem, _, kind = last.partition(".")
            suffix = f".{kind.lower()}"
            if problem is not None:
                self._leave_out(problem, f"{shard}/{name}", lost=True)
                continue
            if not stem:
                self._leave_out("hidden files and folders", f"{shard}/{name}")
                continue
            if (folder, stem) != key:
                finish()
                key, image, label = (folder, stem), None, -1
            if suffix in self.suffixes and image is None:
                image = name, offset, length
            elif suffix == ".cls" and length <= _MAX_LABEL_LENGTH:
                file.seek(offset)
                label = _read_label(file.read(length))
            else:
                self._leave_out(*self._kind(suffix), f"{shard}/{name}")
        finish()

    def _kind(self, suffix):
        """Returns what a file of this suffix is called, and whether it is a loss."""
        if suffix in self.suffixes:
            return "further images of a sample", False
        return f"{suffix} files", suffix in OTHER_PICTURES

    def _leave_out(self, kind, name, lost=False):
        """Notes that something was left out."""
        count, first = self.left_out.get(kind, (0, name))
        self.left_out[kind] = count + 1, first
        if lost:
            self.lost.add(kind)


def _read_label(content):
    """Returns the integer in a file, or -1 if there is none that can be a label."""
    try:
        label = int(content)
    except ValueError:
        return -1
    return label if 0 <= label < MAX_LABELS else -1
