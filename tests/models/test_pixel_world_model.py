"""A world model of pixels, and world models with other masks."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import ViTEncoder
from keras_iwm.downstream import LatentPredictor, WorldModelBackbone
from keras_iwm.evaluation import (
    EquivarianceEvaluator,
    RetrievalBank,
    WorldModelEvaluator,
    flops_per_image,
)
from keras_iwm.metrics import retrieval_ranks
from keras_iwm.models import ImageWorldModel, PixelWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, QuadrantMask, RandomMask

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="elsewhere every operation is compiled"
)
MASKS = {
    "random": RandomMask((4, 6), 0.6),
    "block": MultiBlockMask((4, 6), num_blocks=1, scale=(0.6, 0.6)),
    "quadrants": QuadrantMask((4, 6)),
}


def make_model(kind=PixelWorldModel, **arguments):
    encoder = ViTEncoder((16, 24), 4, 16, 1, 2)
    return kind.from_encoder(encoder, predictor_dim=12, seed=3, **arguments)


def random_images(count=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 16, 24, 3)).astype("uint8")


def normalized_patches(images):
    """Patches of (16, 24) images as masked autoencoders take them, one by one."""
    images = (images / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    patches = np.stack(
        [
            images[:, row : row + 4, column : column + 4].reshape(len(images), -1)
            for row in range(0, 16, 4)
            for column in range(0, 24, 4)
        ],
        axis=1,
    )
    variance = patches.var(-1, ddof=1, keepdims=True)
    return (patches - patches.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-6)


def test_outputs_and_loss_equal_the_numpy_forward_pass():
    model = make_model()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    order = np.stack([rng.permutation(24) for _ in range(4)]).astype("int32")
    views = {
        "source": rng.uniform(0, 255, (4, 16, 24, 3)).astype("float32"),
        "target": rng.uniform(0, 255, (4, 16, 24, 3)).astype("float32"),
        "action": rng.uniform(-1, 1, (4, 7)).astype("float32"),
        "context_ids": order[:, :10],
        "target_ids": order[:, 14:],
    }
    outputs = model(views)
    context = numpy_vit.encode(model.encoder, views["source"], views["context_ids"])
    prediction = numpy_vit.predict(
        model.predictor,
        context["norm"],
        views["context_ids"],
        views["target_ids"],
        views["action"],
    )
    target = normalized_patches(views["target"].astype("float64"))
    target = np.take_along_axis(target, views["target_ids"][..., None], axis=1)
    assert prediction.shape[-1] == 48
    for name, expected in (("prediction", prediction), ("target", target)):
        np.testing.assert_allclose(
            ops.convert_to_numpy(outputs[name]), expected, atol=5e-5
        )
    loss = float(model.compute_loss(y_pred=outputs))
    np.testing.assert_allclose(loss, np.mean((prediction - target) ** 2), 1e-5)


@on_torch
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", [ImageWorldModel, PixelWorldModel])
def test_every_mask_has_its_targets(kind, mask):
    mask = MASKS[mask]
    model = make_model(kind, mask=mask)
    views = model.view_generator(random_images(), training=True)
    outputs = model(views)
    blocks = (3,) if isinstance(mask, QuadrantMask) else ()
    expected = (4, *blocks, mask.num_targets, model.predictor.output_dim)
    assert tuple(outputs["prediction"].shape) == expected
    targets = ops.convert_to_numpy(model.targets_of(views["target"]))
    ids = ops.convert_to_numpy(views["target_ids"])
    found = np.stack([part[i] for part, i in zip(targets, ids, strict=True)])
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs["target"]), found, atol=1e-5
    )
    assert np.isfinite(float(model.compute_loss(y_pred=outputs)))
    parts = flops_per_image(model.encoder, mask.num_context) + flops_per_image(
        model.predictor, mask.num_context, mask.num_targets, mask.num_passes
    )
    if kind is ImageWorldModel:
        parts += flops_per_image(model.target_encoder)
    assert flops_per_image(model) == parts


def test_block_and_random_hide_six_patches_in_ten():
    # Of 14 x 14 patches as in I-JEPA's comparison: the context is what is left.
    random = RandomMask(14, 0.6)
    block = MultiBlockMask(14, num_blocks=1, scale=(0.6, 0.6))
    assert (random.num_context, random.num_targets) == (78, 118)
    assert block.num_context == pytest.approx(0.4 * 196, abs=8)
    assert block.num_targets == pytest.approx(0.6 * 196, abs=8)
    assert QuadrantMask(14).num_context == 49


def test_there_is_no_teacher_and_a_probe_reads_what_is_seen():
    model = make_model(num_classes=3)
    assert model.feature_encoder is model.encoder
    assert not hasattr(model, "target_encoder")
    model.compile(AdamW(1e-2))
    history = model.fit(random_images(), np.arange(4) % 3, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert "probe_accuracy" in history.history


@on_torch
def test_retrieval_ranks_predicted_pixels_among_those_of_the_bank():
    model, images = make_model(), random_images(3)
    bank = RetrievalBank(6)
    evaluator = WorldModelEvaluator(model, images, bank, batch_size=4)
    measured = evaluator.rank_bank(verbose=False)["ranks"]
    ids = np.tile(np.arange(24, dtype="int32"), (6, 1))
    space = model.action_space
    for image, rows, ranks in zip(images, evaluator.parameters, measured, strict=True):
        copies = np.repeat(image[None], 6, axis=0).astype("float32")
        entries = ops.convert_to_numpy(model.view_generator.apply_shared(copies, rows))
        entries = normalized_patches(entries.astype("float64")).reshape(6, -1)
        action = space.between(space.identity(6), ops.convert_to_tensor(rows))
        prediction = model.predictor(model.encoder(copies), ids, ids, action)
        prediction = ops.convert_to_numpy(prediction).astype("float64")
        mean, variance = (
            part(prediction, axis=-1, keepdims=True) for part in (np.mean, np.var)
        )
        prediction = (prediction - mean) / np.sqrt(variance + 1e-6)
        expected = retrieval_ranks(
            prediction.reshape(6, -1).astype("float32"), entries.astype("float32")
        )
        np.testing.assert_array_equal(ranks, ops.convert_to_numpy(expected))


def test_pixels_are_no_latents():
    model, images = make_model(), random_images(2)
    with pytest.raises(ValueError, match="`model` must predict latents"):
        EquivarianceEvaluator(model, images)
    with pytest.raises(ValueError, match="predicts pixels"):
        LatentPredictor.from_world_model(model)


@on_torch
def test_the_predictor_of_pixels_can_be_finetuned():
    model = make_model()
    backbone = WorldModelBackbone.from_world_model(model, "predictor")
    assert backbone.hidden_dim == 48
    latents = backbone(random_images(2))
    assert tuple(latents.shape) == (2, 24, 48)
    symbolic = backbone.compute_output_spec(random_images(2))
    assert symbolic.shape == (2, 24, 48)


def test_a_predictor_of_latents_is_refused():
    model = make_model(ImageWorldModel)
    with pytest.raises(ValueError, match=r"`predictor.output_dim` must be 48"):
        PixelWorldModel(model.encoder, model.predictor, model.view_generator)


@on_torch
def test_presets_of_world_models_are_its_own():
    model = PixelWorldModel.from_preset("ijepa_tiny_32", load_weights=False, seed=0)
    assert model.view_generator.mask.num_passes == 4
    assert model.predictor.conditioning == "none"
    with pytest.raises(ValueError, match="of another method"):
        PixelWorldModel.from_preset("mae_tiny_32", load_weights=False)
    with pytest.raises(ValueError, match="must hold a PixelWorldModel"):
        PixelWorldModel.from_preset("iwm_tiny_32")


def test_views_without_a_mask_are_refused():
    model = make_model()
    views = type(model.view_generator)((16, 24))
    with pytest.raises(ValueError, match="must have a mask"):
        PixelWorldModel(model.encoder, model.predictor, views)
