"""Sizes, shapes and dtypes of all kinds: what fits works, the rest is refused."""

import warnings

import hypothesis
import keras
import numpy as np
import pytest
from harness import make_classifier, make_encoder, make_world_model
from hypothesis import strategies
from keras import ops

from keras_iwm import evaluation
from keras_iwm.backbones import ViTEncoder
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask

SIDES = strategies.integers(1, 40)
SETTINGS = hypothesis.settings(
    max_examples=60, derandomize=True, deadline=None, database=None
)
DTYPES = ("uint8", "int64", "float16", "float32", "float64", "bool", "complex64", "U3")
ENCODER, WORLD_MODEL, CLASSIFIER = make_encoder(), make_world_model(), make_classifier()
WORLD_MODEL.compile(keras.optimizers.SGD(0.0))
CLASSIFIER.compile(keras.optimizers.SGD(0.0))


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@SETTINGS
@hypothesis.given(
    strategies.tuples(SIDES, SIDES),
    strategies.integers(1, 12),
    strategies.integers(1, 40),
    strategies.integers(1, 7),
    strategies.integers(1, 5),
    strategies.integers(1, 4),
)
def test_encoders_of_any_size_work_or_are_refused(
    image_size, patch_size, hidden_dim, num_heads, num_channels, batch_size
):
    sizes = {"hidden_dim": hidden_dim, "num_heads": num_heads}

    def make():
        return ViTEncoder(
            image_size, patch_size, num_layers=1, num_channels=num_channels, **sizes
        )

    fits = all(side % patch_size == 0 for side in image_size)
    if not fits or hidden_dim % num_heads or hidden_dim % 4:
        with pytest.raises(ValueError, match="patch_size|hidden_dim|num_heads"):
            make()
        return
    encoder = make()
    images = np.full((batch_size, *image_size, num_channels), 100, "uint8")
    latents = ops.convert_to_numpy(encoder(images))
    patches = image_size[0] // patch_size * (image_size[1] // patch_size)
    assert latents.shape == (batch_size, patches, hidden_dim)
    assert np.isfinite(latents).all()


@SETTINGS
@hypothesis.given(strategies.tuples(SIDES, SIDES), strategies.booleans())
def test_world_models_of_any_grid_work_or_are_refused(grid_size, separate_blocks):
    image_size = tuple(2 * side for side in grid_size)
    encoder = ViTEncoder(image_size, 2, 8, 1, 2)
    refusal = None
    try:
        model = ImageWorldModel.from_encoder(
            encoder,
            mask=MultiBlockMask(grid_size, separate_blocks=separate_blocks),
            predictor_dim=8,
            seed=0,
        )
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert "grid" in refusal
        assert min(grid_size) < 4, refusal
        return
    outputs = model(np.full((2, *image_size, 3), 100, "uint8"), training=True)
    assert outputs["prediction"].shape == outputs["target"].shape
    assert np.isfinite(ops.convert_to_numpy(outputs["prediction"])).all()


SHAPES = strategies.one_of(
    strategies.lists(strategies.integers(0, 20), max_size=6).map(tuple),
    strategies.tuples(
        strategies.integers(0, 5),
        strategies.sampled_from([0, 1, 8, 15, 16, 20, 32]),
        strategies.sampled_from([0, 1, 8, 15, 16, 20, 32]),
        strategies.sampled_from([0, 1, 2, 3, 4]),
    ),
)
CALLS = {
    "predict": lambda x: ENCODER.predict(x, verbose=0),
    "fit": lambda x: WORLD_MODEL.fit(x, batch_size=4, verbose=0),
    "evaluate": lambda x: WORLD_MODEL.evaluate(x, batch_size=4, verbose=0),
    "classify": lambda x: CLASSIFIER.fit(
        x, np.zeros(np.shape(x)[:1], int), batch_size=4, verbose=0
    ),
    "features": lambda x: evaluation.extract_features(ENCODER, x, verbose=False),
    "world model": lambda x: evaluation.evaluate_world_model(
        WORLD_MODEL, x, evaluation.RetrievalBank(4), verbose=False
    ),
}


@pytest.mark.parametrize("name", CALLS)
@SETTINGS
@hypothesis.given(SHAPES, strategies.sampled_from(DTYPES))
def test_arrays_of_any_shape_and_dtype_work_or_are_refused(name, shape, dtype):
    images = np.full(shape, 100).astype(dtype)
    sides, numeric = shape[1:3], dtype not in ("bool", "complex64", "U3")
    if name in ("features", "world model"):  # of the model's own size
        whole = sides == (16, 16)
    elif name in ("fit", "evaluate"):  # views are cropped to it
        whole = 0 not in sides
    else:
        whole = all(side and side % 4 == 0 for side in sides)
    if len(shape) == 4 and shape[0] and shape[3] == 3 and whole and numeric:
        CALLS[name](images)
    else:
        with pytest.raises(ValueError, match="`(x|images|data|patch_size)"):
            CALLS[name](images)
