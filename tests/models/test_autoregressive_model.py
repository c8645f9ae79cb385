"""Continuous autoregression: what is learned, from what, and what it makes."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation import flops_per_image, loss_by_position
from keras_iwm.heads import SquaredErrorHead
from keras_iwm.models import AutoregressiveModel
from keras_iwm.optimizers import AdamW
from keras_iwm.saving import load_encoder
from keras_iwm.views import ViewGenerator

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("float32")


def small_encoder(**changes):
    arguments = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "mlp_dim": 24}
    return ViTEncoder(16, 4, name="encoder", **{**arguments, **changes})


def small_model(encoder=None, **arguments):
    """A model whose weights are not at their start."""
    model = AutoregressiveModel.from_encoder(
        encoder or small_encoder(),
        **{"head_layers": 1, "head_dim": 8, "crop": None, "seed": 0, **arguments},
    )
    draws = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(weight + draws.normal(0, 0.1, weight.shape).astype("float32"))
    return model


def as_arrays(outputs):
    return {name: ops.convert_to_numpy(tensor) for name, tensor in outputs.items()}


def cut(images):
    """Patches of 4 x 4 pixels, row by row of the grid."""
    return np.stack(
        [
            images[:, row : row + 4, column : column + 4].reshape(len(images), -1)
            for row in range(0, 16, 4)
            for column in range(0, 16, 4)
        ],
        axis=1,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"order": "spiral"},
        {"order": "random", "prefix_attention": True, "normalize_targets": False},
    ],
    ids=["spiral", "random_with_prefix"],
)
def test_outputs_and_loss_equal_numpy(arguments):
    model = small_model(**arguments)
    outputs = as_arrays(model(IMAGES))
    ids, prefix_lengths = map(
        lambda x: x if x is None else ops.convert_to_numpy(x),
        model.sequence_draws(IMAGES),
    )
    latents = numpy_vit.encode_sequence(
        model.causal_encoder, IMAGES, ids[:, :-1], prefix_lengths
    )["norm"]
    conditions = latents + numpy_vit.positions(4, 4, 16)[ids]
    pixels = (IMAGES / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    patches = cut(pixels if prefix_lengths is not None else IMAGES)
    if prefix_lengths is None:
        mean, deviation = patches.mean(-1), patches.std(-1, ddof=1)
        patches = (patches - mean[..., None]) / deviation[..., None]
    target = np.take_along_axis(patches, ids[..., None], axis=1)
    np.testing.assert_allclose(outputs["target"], target, atol=1e-4)
    prediction = model.head(conditions.astype("float32"), target)["prediction"]
    np.testing.assert_allclose(
        outputs["prediction"], ops.convert_to_numpy(prediction), atol=1e-4
    )
    squares = ((outputs["prediction"] - target) ** 2).mean(-1)
    if prefix_lengths is not None:
        behind = np.arange(16) >= prefix_lengths[:, None]
        np.testing.assert_array_equal(outputs["weights"], behind)
        squares = squares[behind]
    model.compile(AdamW(1e-3))
    loss = model.evaluate(IMAGES, verbose=0)
    assert loss == pytest.approx(squares.mean(), rel=1e-4)


@pytest.mark.parametrize("order", ["morton", "random"])
def test_a_changed_patch_changes_no_prediction_up_to_its_own(order):
    model = small_model(order=order)
    ids = ops.convert_to_numpy(model.sequence_draws(IMAGES)[0])
    before = as_arrays(model(IMAGES))["prediction"]
    for place in (0, 7, 14):
        changed = IMAGES.copy()
        for sample, patch in enumerate(ids[:, place]):
            row, column = 4 * (patch // 4), 4 * (patch % 4)
            changed[sample, row : row + 4, column : column + 4] = 0
        after = as_arrays(model(changed))["prediction"]
        kept = place + 1
        np.testing.assert_array_equal(after[:, :kept], before[:, :kept])
        assert (after[:, kept:] != before[:, kept:]).any(axis=-1).all()


def test_orders_and_prefixes_are_drawn_anew_in_training_alone():
    model = small_model(order="random", prefix_attention=True)
    images = np.zeros((2000, 1, 1, 1), "float32")
    ids, lengths = map(
        ops.convert_to_numpy, model.sequence_draws(images, training=True)
    )
    np.testing.assert_array_equal(
        np.sort(ids, axis=1), np.tile(np.arange(16), (2000, 1))
    )
    # Each patch comes first as often as any other, and each length.
    assert np.abs(np.bincount(ids[:, 0], minlength=16) / 125 - 1).max() < 0.35
    counts = np.bincount(lengths, minlength=16)
    assert counts[0] == 0
    assert np.abs(counts[1:] / (2000 / 15) - 1).max() < 0.35
    again = ops.convert_to_numpy(model.sequence_draws(images, training=True)[0])
    assert (again != ids).any()
    fixed = [ops.convert_to_numpy(model.sequence_draws(images)[0]) for _ in range(2)]
    np.testing.assert_array_equal(*fixed)


def stripes(num_images):
    """Waves of one length and colour each, of any direction and phase."""
    draws = np.random.default_rng(2)
    angle, phase = draws.uniform(0, 2 * np.pi, (2, num_images, 1, 1))
    row, column = np.mgrid[:16, :16] / 16 * 2 * np.pi
    waves = np.sin(np.cos(angle) * row + np.sin(angle) * column + phase)
    return (127 + 100 * np.repeat(waves[..., None], 3, axis=-1)).astype("uint8")


def test_it_learns_to_predict_patches():
    keras.utils.set_random_seed(0)
    encoder = small_encoder(hidden_dim=32, mlp_dim=64)
    model = AutoregressiveModel.from_encoder(
        encoder, head_layers=1, crop=None, seed=0, order="snake"
    )
    model.compile(AdamW(5e-3))
    images = stripes(256)
    history = model.fit(images, batch_size=32, epochs=8, verbose=0).history["loss"]
    # The mean of all patches has a loss of 1.
    assert history[0] > 0.5
    losses = loss_by_position(model, images)
    assert losses[0] > 0.7  # nothing is known of the first
    assert losses[4:].mean() < 0.4


def test_losses_by_position_are_the_loss_taken_apart():
    model = small_model(order="random")
    model.compile(AdamW(1e-3))
    losses = loss_by_position(model, IMAGES, batch_size=3)
    outputs = as_arrays(model(IMAGES))
    expected = ((outputs["prediction"] - outputs["target"]) ** 2).mean(axis=(0, 2))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert losses.mean() == pytest.approx(model.evaluate(IMAGES, verbose=0), rel=1e-4)
    of_raster = small_model()
    np.testing.assert_allclose(
        *(loss_by_position(of_raster, IMAGES, batch_size=size) for size in (2, 3)),
        rtol=1e-4,
    )


@pytest.mark.parametrize("order", ["spiral", "random"])
def test_generation_equals_whole_passes_for_each_patch(order):
    model = small_model(order=order, normalize_targets=False)
    found = model.generate(images=IMAGES, num_first=5, seed=3)
    ids = np.tile(model.causal_encoder.patch_ids, (3, 1))
    if order == "random":
        ids = np.random.default_rng(3).permuted(ids, axis=1)
    images = IMAGES.copy()
    samples = np.arange(3)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for place in range(5, 16):
        outputs, _ = model.predict_patches(ops.convert_to_tensor(images), ids)
        patches = ops.convert_to_numpy(outputs["prediction"])[:, place]
        pixels = np.clip(patches.reshape(3, 4, 4, 3) * std + mean, 0, 1) * 255
        for sample, patch in zip(samples, ids[:, place], strict=True):
            row, column = 4 * (patch // 4), 4 * (patch % 4)
            images[sample, row : row + 4, column : column + 4] = pixels[sample]
    np.testing.assert_allclose(found / 255, images / 255, atol=1e-5)
    assert found.dtype == "float32"


@keras.saving.register_keras_serializable(package="tests")
class NoisyHead(SquaredErrorHead):
    """Draws from a normal around its prediction."""

    def sample(self, conditions, temperature=1.0, seed=None):
        mean = super().sample(conditions)
        return mean + temperature * keras.random.normal(ops.shape(mean), seed=seed)


def test_seeds_and_temperature_of_generation():
    encoder = small_encoder(mean=0.5, std=0.01)  # nothing is clipped
    head = NoisyHead(16, 48, hidden_dim=8, name="head")  # whose mean is zero
    model = AutoregressiveModel.from_encoder(encoder, head, normalize_targets=False)
    pictures = model.generate(4, seed=1)
    np.testing.assert_array_equal(pictures, model.generate(4, seed=1))
    assert np.abs(pictures - model.generate(4, seed=2)).min() > 0
    assert np.ptp(model.generate(4, temperature=0.0, seed=1)) == 0
    noise = cut((pictures / 255 - 0.5) / 0.01).reshape(64, 48)
    # Each patch of each image has noise of its own.
    similarity = np.corrcoef(noise)[~np.eye(64, dtype=bool)]
    assert np.abs(similarity).max() < 0.75
    assert np.std(noise) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("head", ["diffusion", "denoising_steps"])
def test_heads_that_denoise_learn_and_generate(head):
    model = small_model(head=head, prefix_attention=True, normalize_targets=False)
    outputs = as_arrays(model(IMAGES))
    assert outputs["prediction"].shape == (3, 16, 4, 48)
    assert outputs["weights"].shape == (3, 16, 4)
    squares = ((outputs["prediction"] - outputs["target"]) ** 2).mean(-1)
    model.compile(AdamW(1e-3))
    expected = squares[outputs["weights"] == 1].mean()
    assert model.evaluate(IMAGES, verbose=0) == pytest.approx(expected, rel=1e-3)
    assert np.isfinite(model.fit(IMAGES, verbose=0).history["loss"]).all()
    assert loss_by_position(model, IMAGES).shape == (16,)
    if head == "diffusion":
        return  # whose 100 steps for each patch are the same loop
    pictures = model.generate(images=IMAGES, num_first=12, seed=1)
    np.testing.assert_allclose(pictures[:, :12], IMAGES[:, :12], atol=1e-3)
    others = model.generate(images=IMAGES, num_first=12, seed=2)
    assert np.abs(pictures - others).max() > 1


def test_operations_are_those_of_encoder_and_head():
    model = small_model()
    kernels = [w.shape for w in model.head.weights if len(w.shape) == 2]
    head = 2 * 16 * sum(rows * columns for rows, columns in kernels)
    assert flops_per_image(model) == flops_per_image(model.encoder) + head


def test_the_encoder_alone_is_read_from_a_run(tmp_path):
    model = small_model()
    model.save(tmp_path / "run.keras")
    encoder = load_encoder(tmp_path / "run.keras")
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(part(IMAGES)) for part in (encoder, model.encoder)),
        atol=1e-6,
    )


def test_what_does_not_fit_is_refused():
    encoder = small_encoder()
    views = ViewGenerator(16, actions=())
    with pytest.raises(ValueError, match="`head.condition_dim` must be 16"):
        AutoregressiveModel(encoder, SquaredErrorHead(8, 48), views)
    with pytest.raises(ValueError, match="`head.patch_dim` must be 48"):
        AutoregressiveModel(encoder, SquaredErrorHead(16, 4), views)
    with pytest.raises(ValueError, match="`encoder` must have two patches or more"):
        small_model(ViTEncoder(8, 8, 16, 1, 2))
    with pytest.raises(ValueError, match="`head` must be one of"):
        small_model(head="linear")
    with pytest.raises(ValueError, match="made with `normalize_targets=False`"):
        small_model().generate(2)
    model = small_model(normalize_targets=False, prefix_attention=True)
    with pytest.raises(ValueError, match="`num_first` must be 1 or more"):
        model.generate(2)
    with pytest.raises(ValueError, match="Give either `num_images`"):
        model.generate(2, images=IMAGES)
