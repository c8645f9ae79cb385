"""A world model whose targets are its own latents, and what keeps them apart."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation import WorldModelEvaluator, flops_per_image
from keras_iwm.layers import SlicedGaussianRegularizer, VarianceCovarianceRegularizer
from keras_iwm.models import TeacherFreeWorldModel
from keras_iwm.optimizers import AdamW


def make_model(regularizer=None, **arguments):
    encoder = ViTEncoder(16, 4, 24, 1, 2)
    return TeacherFreeWorldModel.from_encoder(
        encoder,
        actions=[ColorJitter(probability=1.0)],
        predictor_dim=12,
        seed=3,
        regularizer=regularizer,
        **arguments,
    )


def random_images(count=4):
    """Images of one colour each, so that what is hidden can be predicted."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (count, 1, 1, 3))
    return colors.repeat(16, axis=1).repeat(16, axis=2).astype("uint8")


def test_outputs_and_loss_equal_the_numpy_forward_pass():
    model = make_model(VarianceCovarianceRegularizer(1.0, 0.5))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    views = model.view_generator(random_images(), training=True)
    views = {name: ops.convert_to_numpy(view) for name, view in views.items()}
    outputs = model(views, training=True)
    context = numpy_vit.encode(model.encoder, views["source"], views["context_ids"])
    prediction = numpy_vit.predict(
        model.predictor,
        context["norm"],
        views["context_ids"],
        views["target_ids"],
        views["action"],
    )
    latents = numpy_vit.encode(model.encoder, views["target"])["norm"]
    latents = latents - latents.mean(axis=-1, keepdims=True)
    latents /= np.sqrt(latents.var(axis=-1, keepdims=True) + 1e-6)
    target = np.take_along_axis(latents, views["target_ids"][..., None], axis=1)
    expected = {"prediction": prediction, "target": target, "latents": latents}
    for name, values in expected.items():
        np.testing.assert_allclose(
            ops.convert_to_numpy(outputs[name]), values, atol=1e-4
        )
    regularizer = float(model.regularizer(outputs["latents"]))
    loss = np.mean((prediction - target) ** 2) + regularizer
    assert regularizer > 0.1
    np.testing.assert_allclose(float(model.compute_loss(y_pred=outputs)), loss, 1e-4)


def spread_of(model):
    """Deviation over the images of the latents of each patch, in the mean."""
    latents = model.predict(random_images(32), verbose=0)["latents"]
    return latents.std(axis=0).mean()


@pytest.mark.parametrize(
    "regularizer",
    [
        VarianceCovarianceRegularizer(name="regularizer"),
        SlicedGaussianRegularizer(0.3, 64, seed=0, name="regularizer"),
        VarianceCovarianceRegularizer(0.0, 0.0, name="regularizer"),
    ],
    ids=["variance_covariance", "sliced_gaussian", "none"],
)
def test_latents_collapse_only_without_a_regularizer(regularizer):
    keras.utils.set_random_seed(0)
    model = make_model(regularizer)
    model.compile(AdamW(3e-3))
    assert spread_of(model) > 0.2
    model.fit(random_images(32), batch_size=32, epochs=60, verbose=0)
    has_none = getattr(regularizer, "variance_weight", 1.0) == 0
    if has_none:
        assert spread_of(model) < 0.2
    else:
        assert spread_of(model) > 0.5


def test_gradients_reach_the_encoder_through_the_targets():
    model = make_model(VarianceCovarianceRegularizer(0.0, 0.0, name="regularizer"))
    model.predictor.trainable = False
    views = model.view_generator(random_images(), training=True)
    targets = model.targets_of(views["target"])
    assert tuple(targets.shape) == (4, 16, 24)
    assert model.feature_encoder is model.encoder
    assert not hasattr(model, "target_encoder")


def test_it_is_measured_as_other_world_models_are():
    model = make_model(num_classes=3)
    model.compile(AdamW(1e-2))
    history = model.fit(
        random_images(), np.arange(4) % 3, epochs=2, verbose=0, batch_size=4
    )
    assert "probe_accuracy" in history.history
    results = WorldModelEvaluator(model, random_images(2)).evaluate(verbose=False)
    assert 0 < results["mrr"] <= 1
    model = make_model()
    mask = model.view_generator.mask
    assert flops_per_image(model) == (
        flops_per_image(model.encoder)
        + flops_per_image(model.encoder, mask.num_context)
        + flops_per_image(model.predictor, mask.num_context, mask.num_targets)
    )


def test_a_saved_model_goes_on(tmp_path):
    model = make_model()
    model.compile(AdamW(1e-2))

    def fit(part):
        history = part.fit(
            random_images(), batch_size=4, epochs=2, shuffle=False, verbose=0
        )
        return history.history["loss"]

    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(fit(model), fit(loaded), rtol=1e-5)
    with pytest.raises(ValueError, match="`regularizer` must be a layer"):
        make_model("variance")
