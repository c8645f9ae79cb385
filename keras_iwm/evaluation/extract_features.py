"""Features of images and of clips."""

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_boolean, as_count, as_object, shown
from keras_iwm.backbones.encoder_around import EncoderAround
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backend import KeptState
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.distribution.device_batches import even_batch
from keras_iwm.evaluation.check_images_for import check_images_for
from keras_iwm.type_aliases import Array, Names


def extract_features(
    encoder: ViTEncoder | EncoderAround,
    images: Array | EpochOrderedDataset,
    batch_size: int = 64,
    verbose: bool = True,
    blocks: Names = ("norm",),
    pooled: bool = True,
) -> np.ndarray:
    """Latents of images or clips, by default of the last norm, averaged over patches.

    Args:
        encoder: `ViTEncoder` or `VideoEncoder`. Pass `model.feature_encoder`, which is
            what is evaluated and reused (the teacher, where there is one). Or a
            `CausalEncoder` or `LastBlocks` around one.
        images: Array or tensor of shape `(num_images, height, width, num_channels)`
            of the encoder's `image_size` and in its `value_range`. For a `VideoEncoder`
            these, or clips of shape `(num_clips, num_frames, height, width,
            num_channels)`. Or an `ImageFolder` or `ImageArray`, or their like for
            clips, with `shuffle=False` and `drop_remainder=False`, for what does not
            fit into memory: features come in the dataset's order, which is that of its
            `labels`.
        batch_size: Positive integer. The last batch is filled up, so that only one
            shape is compiled. A dataset brings its own.
        verbose: Boolean, whether to show progress once it takes over 3 seconds.
        blocks: Sequence of names of the tokens to take: `"stem"`, `"block_00"`,
            `"block_01"`, ... and `"norm"`, as of the encoder's
            `return_intermediates`. Those of several are concatenated, in this order.
            Only `"norm"` is normalised: standardise the others before a probe.
        pooled: Boolean, whether to average over patches.

    Returns:
        Float32 NumPy array of shape `(num_images, len(blocks) * hidden_dim)`, or if
        not pooled `(num_images, num_patches, len(blocks) * hidden_dim)`. Beside it
        only one batch is held.

    Raises:
        ValueError: If the images do not fit the encoder, a block is unknown, or a
            dataset shuffles, drops or shares out images.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    keras_iwm.evaluation.extract_features(model.target_encoder, images).shape
    # (8, 96)
    keras_iwm.evaluation.extract_features(
        model.target_encoder, images, blocks=("block_01", "norm"), pooled=False
    ).shape  # (8, 16, 192)
    ```
    """
    needed = ("num_layers", "hidden_dim", "image_size", "value_range", "num_channels")
    as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
    batch_size = as_count("batch_size", batch_size)
    pooled, verbose = as_boolean("pooled", pooled), as_boolean("verbose", verbose)
    blocks = _check_blocks(encoder, blocks)
    # The encoder keeps what it has compiled for the last norm, from call to call.
    model = encoder if blocks == ["norm"] else _Blocks(encoder, blocks)
    is_dataset = isinstance(images, keras.utils.PyDataset)
    if is_dataset:
        num_images, batch_size = _check_dataset(images), images.batch_size
    else:
        images = check_images_for(encoder, images)
        num_images = len(images)
    batch_size = min(batch_size, num_images)
    even_size, width = even_batch(batch_size), encoder.hidden_dim
    features = None
    starts = range(0, num_images, batch_size)
    progress = tqdm(starts, "Features", disable=not verbose, delay=3)
    for index, start in enumerate(progress):
        if is_dataset:
            batch = check_images_for(encoder, images.load_batch(index)[0])
        else:
            batch = images[start : start + batch_size]
        count = len(batch)
        padding = [(0, even_size - count)] + [(0, 0)] * (batch.ndim - 1)
        outputs = model.predict_on_batch(np.pad(batch, padding, mode="edge"))
        outputs = [outputs] if model is encoder else outputs
        if features is None:
            shape = () if pooled else outputs[0].shape[1:2]
            features = np.empty((num_images, *shape, width * len(blocks)), "float32")
        for block, latents in enumerate(outputs):
            latents = latents[:count].astype("float32")
            columns = slice(block * width, (block + 1) * width)
            features[start : start + count, ..., columns] = (
                np.mean(latents, axis=1) if pooled else latents
            )
    return features


class _Blocks(KeptState, keras.Model):
    """Tokens after some blocks of an encoder, as a list."""

    def __init__(self, encoder, blocks):
        super().__init__(autocast=False, name="blocks")
        self.encoder = encoder
        self.names = blocks
        self.built = True

    def call(self, images, training=None):
        """Encode images and keep the tokens that are wanted."""
        tokens = self.encoder(images, training=training, return_intermediates=True)
        return [tokens[name] for name in self.names]


def _check_blocks(encoder, blocks):
    """Names of blocks as a list, after checking that the encoder has them."""
    indices = range(encoder.num_layers)
    known = ["stem", *(f"block_{index:02d}" for index in indices), "norm"]
    names = list(blocks) if isinstance(blocks, (list, tuple)) else []
    if not names or any(name not in known for name in names):
        raise ValueError(
            f"`blocks` must be a sequence of one or more of {known}, such as "
            f"('norm',). Received: blocks={shown(blocks)}."
        )
    return names


def _check_dataset(dataset):
    """Number of images of a dataset that hands out each of them, in order."""
    if not isinstance(dataset, EpochOrderedDataset):
        raise ValueError(
            "`images`, if a dataset, must be a keras_iwm.datasets.ImageFolder or "
            f"ImageArray. Received: {type(dataset).__name__}. Pass its batches one by "
            "one, as arrays."
        )
    if dataset.shuffle or dataset.drop_remainder or dataset.share != (0, 1):
        raise ValueError(
            "`images`, if a dataset, must hand out every image, in order. Received: "
            f"shuffle={dataset.shuffle}, drop_remainder={dataset.drop_remainder}, "
            f"share={dataset.share}. Make it with shuffle=False and "
            "drop_remainder=False, and leave its share at (0, 1)."
        )
    return dataset.num_samples
