import random

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.downstream import attentive_probe, linear_probe, low_shot_probe


def latents_with_a_telling_patch(count, seed):
    """Noise, but for one patch that is marked and holds the class."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(count, 6, 16)).astype("float32")
    labels = rng.integers(0, 3, count)
    patches = rng.integers(0, 6, count)
    latents[np.arange(count), patches] = 0
    latents[np.arange(count), patches, 15] = 6
    latents[np.arange(count), patches, labels] = 3
    return latents, labels, patches


def test_the_probe_finds_the_patch_that_matters():
    train, train_labels, _ = latents_with_a_telling_patch(300, 0)
    test, test_labels, patches = latents_with_a_telling_patch(100, 1)
    arguments = (train, train_labels, test, test_labels)
    results = attentive_probe(
        *arguments,
        num_heads=2,
        epochs=30,
        batch_size=30,
        learning_rate=5e-3,
        verbose=False,
    )
    assert results["accuracy"] > 0.95
    head = results["probe"].get_layer("head")
    attention = ops.convert_to_numpy(head.attention(test)).mean(axis=1)
    assert np.mean(attention.argmax(axis=1) == patches) > 0.9
    logits = results["probe"].predict(test, verbose=0)
    assert results["accuracy"] == np.mean(logits.argmax(axis=1) == test_labels)


def streams():
    """What the process-wide random streams would give next, and leave them there."""
    drawn = [random.getstate(), np.random.get_state()[1].tolist()]
    if keras.backend.backend() == "torch":
        import torch

        drawn.append(torch.get_rng_state().tolist())
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        drawn.append(tensorflow.random.get_global_generator().state.numpy().tolist())
    generator = keras.src.backend.common.global_state.get_global_attribute(
        "global_seed_generator"
    )
    return [*drawn, generator and ops.convert_to_numpy(generator.state).tolist()]


def test_probes_leave_the_random_streams_alone_and_follow_their_seed():
    keras.random.normal((2,))  # the global generator exists
    latents, labels, _ = latents_with_a_telling_patch(60, 0)
    features = latents.mean(axis=1)
    before = streams()
    weights = []
    for seed in (1, 1, 2):
        probe = attentive_probe(
            latents, labels, latents, labels, 2, 2, seed=seed, verbose=False
        )["probe"]
        weights.append(probe.get_weights())
    linear_probe(features, labels, features, labels, epochs=1, verbose=False)
    low_shot_probe(features, labels, features, labels, fraction=0.5)
    assert streams() == before
    for one, two in zip(*weights[:2], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert np.abs(weights[0][0] - weights[2][0]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_heads", 0),
        ("epochs", 1.5),
        ("batch_size", -1),
        ("seed", -1),
        ("learning_rate", float("nan")),
        ("weight_decay", -1),
    ],
)
def test_wrong_settings_are_refused(name, value):
    latents, labels, _ = latents_with_a_telling_patch(8, 0)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        attentive_probe(
            latents, labels, latents, labels, **{"num_heads": 2, name: value}
        )


def test_wrong_arrays_are_refused():
    latents, labels, _ = latents_with_a_telling_patch(8, 0)
    with pytest.raises(ValueError, match="`train_latents` must have shape"):
        attentive_probe(latents[:, 0], labels, latents, labels, num_heads=2)
    with pytest.raises(ValueError, match="`test_labels` must be integers"):
        attentive_probe(latents, labels, latents, labels[:4], num_heads=2)
    with pytest.raises(ValueError, match="must hold every class"):
        attentive_probe(latents, labels, latents, labels + 3, num_heads=2)
