"""The answer to an image and an action is the predictor's."""

import keras
import numpy as np
import pytest
from harness import fill, images, make_predictor, make_world_model
from keras import ops

from keras_iwm.downstream import LatentPredictor


def make_latent_predictor(conditioning="feature"):
    model = make_world_model(conditioning)
    fill(model)
    return model, LatentPredictor.from_world_model(model)


def make_inputs(model, size=16):
    shape = (4, model.action_space.action_dim)
    action = np.random.default_rng(0).normal(size=shape).astype("float32")
    return {"images": images(size=size), "action": action}


@pytest.mark.parametrize("conditioning", ["feature", "sequence"])
@pytest.mark.parametrize("size", [16, 24])
def test_it_predicts_what_encoder_and_predictor_do(conditioning, size):
    model, latent_predictor = make_latent_predictor(conditioning)
    inputs = make_inputs(model, size)
    grid_size = (size // 4, size // 4)
    ids = np.tile(np.arange(size * size // 16, dtype="int32"), (4, 1))
    latents = model.target_encoder(inputs["images"])
    wanted = model.predictor(latents, ids, ids, inputs["action"], grid_size=grid_size)
    got = latent_predictor(inputs)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(got), ops.convert_to_numpy(wanted)
    )
    spec = keras.tree.map_structure(
        lambda value: keras.KerasTensor(value.shape, value.dtype.name), inputs
    )
    assert latent_predictor.compute_output_spec(spec).shape == tuple(got.shape)


def test_it_comes_back_from_a_file(tmp_path):
    model, latent_predictor = make_latent_predictor()
    inputs = make_inputs(model)
    latent_predictor.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(inputs, verbose=0),
        latent_predictor.predict(inputs, verbose=0),
        atol=1e-6,
    )


def test_parts_that_do_not_fit_are_refused():
    model, _ = make_latent_predictor()
    with pytest.raises(ValueError, match="conditioning 'none'"):
        LatentPredictor(model.encoder, make_predictor("none"))
    with pytest.raises(ValueError, match="grid and width"):
        LatentPredictor(
            make_world_model().encoder, type(model.predictor)((4, 4), 32, 16, 1, 2)
        )
    with pytest.raises(ValueError, match="`model`"):
        LatentPredictor.from_world_model(model.encoder)
