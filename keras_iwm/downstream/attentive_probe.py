"""The attentive probe on latents that are in memory."""

from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count, as_number
from keras_iwm.array_arguments import (
    as_array,
    check_labels,
    check_train_and_test_labels,
)
from keras_iwm.backend.random_streams import kept_streams
from keras_iwm.downstream.attentive_head import AttentiveHead
from keras_iwm.downstream.feature_batches import FeatureBatches, fit_with_progress
from keras_iwm.optimizers.adamw import AdamW
from keras_iwm.type_aliases import Array


def attentive_probe(
    train_latents: Array,
    train_labels: Array,
    test_latents: Array,
    test_labels: Array,
    num_heads: int,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
    verbose: bool = True,
) -> dict[str, Any]:
    """Train an attentive head on frozen latents and measure its accuracy.

    One learned query, a cross-attention block and a linear layer on all latents of an
    image (image world models, arXiv 2403.00504, section 5). The latents are computed
    once, so an epoch costs next to nothing; where they do not fit into memory, fit an
    `ImageClassifier` on a backend of protocol `"frozen"` instead, which is the same
    probe.

    Args:
        train_latents: Array of shape `(num_train, num_patches, hidden_dim)`, such as
            `extract_features(model.feature_encoder, images, pooled=False)` makes.
        train_labels: Integers of shape `(num_train,)` from 0.
        test_latents: Array like `train_latents`.
        test_labels: Integers of shape `(num_test,)`, of classes that
            `train_labels` has.
        num_heads: Integer, heads of the attention; divides `hidden_dim`.
        epochs: Positive integer.
        batch_size: Positive integer.
        learning_rate: Float, the peak of AdamW's cosine schedule.
        weight_decay: Float.
        seed: Non-negative integer, of the initial weights and the order of the
            latents. The global random streams are left as they are.
        verbose: Boolean, whether to show progress once it takes over 3 seconds.

    Returns:
        Dictionary of `accuracy`, a float from 0 to 1, and `probe`, the fitted
        `keras.Model` from latents to logits. `probe.get_layer("head")` is the
        `AttentiveHead`, which also tells where it looks.

    Raises:
        ValueError: If an argument is out of its range, shapes do not fit, or the test
            labels hold a class that the training labels lack.

    Example:

    ```python
    generator = np.random.default_rng(0)
    latents = generator.normal(size=(40, 16, 8)).astype("float32")
    labels = np.arange(40) % 2
    results = keras_iwm.downstream.attentive_probe(
        latents[:30], labels[:30], latents[30:], labels[30:], num_heads=2, epochs=2
    )
    results["accuracy"]
    ```
    """
    num_heads, epochs = as_count("num_heads", num_heads), as_count("epochs", epochs)
    batch_size, seed = as_count("batch_size", batch_size), as_count("seed", seed, 0)
    verbose = as_boolean("verbose", verbose)
    learning_rate = as_number("learning_rate", learning_rate, 0.0, np.inf)
    weight_decay = as_number("weight_decay", weight_decay, 0.0, np.inf)
    latents = []
    for name, values in (("train", train_latents), ("test", test_latents)):
        values = as_array(f"{name}_latents", values)
        if values.ndim != 3 or values.size == 0:
            raise ValueError(
                f"`{name}_latents` must have shape (num_images, num_patches, "
                f"hidden_dim). Received shape: {values.shape}. extract_features with "
                "pooled=False makes such latents."
            )
        latents.append(values)
    train_labels = check_labels(train_labels, len(latents[0]), "train_labels")
    test_labels = check_labels(test_labels, len(latents[1]), "test_labels")
    num_classes = check_train_and_test_labels(train_labels, test_labels)

    rows = np.arange(len(latents[0]))
    batches = FeatureBatches(latents[0], train_labels, rows, epochs, batch_size, seed)
    with kept_streams(seed):
        inputs = keras.Input(latents[0].shape[1:])
        head = AttentiveHead(num_classes, num_heads, name="head")
        probe = keras.Model(inputs, head(inputs))
        probe.compile(
            AdamW(
                keras.optimizers.schedules.CosineDecay(
                    learning_rate, len(batches), alpha=1e-3
                ),
                weight_decay,
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        fit_with_progress(probe, batches, "Attentive probe", verbose)
        logits = probe.predict(latents[1], batch_size=batch_size, verbose=0)
    accuracy = np.mean(np.argmax(logits, axis=1) == test_labels)
    return {"accuracy": float(accuracy), "probe": probe}
