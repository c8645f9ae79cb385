import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import PRESETS, VideoEncoder, ViTEncoder, WorldModelPredictor
from keras_iwm.evaluation import flops_per_image
from keras_iwm.models import ImageWorldModel, VideoWorldModel, method_of
from keras_iwm.optimizers import AdamW
from keras_iwm.views import VideoBlockMask

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 4, 16, 24, 3), "uint8")
MASKS = [
    VideoBlockMask((2, 4, 6), num_context=9, num_targets=13, name="short_mask"),
    VideoBlockMask(
        *((2, 4, 6), 2, (0.5, 0.5)), num_context=5, num_targets=17, name="long_mask"
    ),
]


def small_model(**arguments):
    encoder = VideoEncoder((16, 24), 4, 12, 2, 2, num_frames=4, name="encoder")
    arguments = {"predictor_dim": 24, "masks": MASKS, "seed": 3, **arguments}
    return VideoWorldModel.from_encoder(encoder, **arguments)


def numpy_of(tree):
    return keras.tree.map_structure(ops.convert_to_numpy, tree)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def test_call_and_loss_equal_the_numpy_forward_pass():
    model = small_model(num_classes=3)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    views = numpy_of(model.view_generator(CLIPS, training=True))
    outputs = model(views)
    latents = layer_norm(numpy_vit.encode(model.target_encoder, views["clips"])["norm"])
    losses = []
    for kind in range(2):
        context_ids, target_ids = (
            views[f"{n}_ids"][kind] for n in ("context", "target")
        )
        context = numpy_vit.encode(model.encoder, views["clips"], context_ids)["norm"]
        expected = numpy_vit.predict(
            *(model.predictor, context, context_ids, target_ids, None), mask_index=kind
        )
        found = ops.convert_to_numpy(outputs["prediction"][kind])
        np.testing.assert_allclose(found, expected, atol=1e-4)
        target = np.take_along_axis(latents, target_ids[..., None], axis=1)
        found = ops.convert_to_numpy(outputs["target"][kind])
        np.testing.assert_allclose(found, target, atol=1e-4)
        losses.append(np.abs(expected - target).mean())
    loss = float(ops.convert_to_numpy(model.method_loss(outputs)))
    assert loss == pytest.approx(np.mean(losses), abs=1e-4)
    assert outputs["probe_logits"].shape == (4, 3)


def test_a_mask_token_is_that_of_its_kind():
    model = small_model()
    views = numpy_of(model.view_generator(CLIPS))
    before = numpy_of(model(views)["prediction"])
    token = ops.convert_to_numpy(model.predictor.mask_token).copy()
    token[1, ::2] += 0.1
    model.predictor.mask_token.assign(token)
    after = numpy_of(model(views)["prediction"])
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-4


def test_fit_moves_the_student_and_then_the_teacher(tmp_path):
    model = small_model(num_classes=2, ema_momentum=0.5)
    model.compile(AdamW(1e-2))
    student, teacher = (
        part.get_weights() for part in (model.encoder, model.target_encoder)
    )
    history = model.fit(CLIPS, np.arange(4) % 2, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for old, mean, new, moved in zip(
        *(student, teacher, model.encoder.get_weights()),
        model.target_encoder.get_weights(),
        strict=True,
    ):
        assert np.abs(new - old).max() > 0
        np.testing.assert_allclose(moved, (mean + new) / 2, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for found, expected in zip(
        keras.tree.flatten(loaded.predict(CLIPS, verbose=0)),
        keras.tree.flatten(model.predict(CLIPS, verbose=0)),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # What a user takes away knows clips and images.
    assert loaded.feature_encoder.predict(CLIPS, verbose=0).shape == (4, 48, 12)
    assert loaded.feature_encoder.predict(CLIPS[:, 0], verbose=0).shape == (4, 24, 12)


def test_operations_are_those_of_the_parts():
    model = small_model()
    encoder, predictor = model.encoder, model.predictor
    one = flops_per_image(encoder, num_context=1)
    # A patch of two frames, then two blocks of one token, which sees itself.
    assert one == 2 * (2 * 16 * 3 * 12 + 2 * (12 * 12**2 + 2 * 12))
    expected = flops_per_image(encoder)
    for mask in MASKS:
        expected += 3 * flops_per_image(encoder, num_context=mask.num_context)
        expected += 3 * flops_per_image(
            predictor, num_context=mask.num_context, num_targets=mask.num_targets
        )
    assert flops_per_image(model, training=True) == expected


@pytest.mark.parametrize(
    ("preset", "encoder_count", "predictor_count"),
    [
        # Patches, blocks without biases of keys, the last norm.
        (
            "vjepa_tiny_64",
            (384 + 1) * 192 + 6 * 12 * (192**2 + 192) + 2 * 192,
            (192 + 1) * 128 + 6 * 12 * (128**2 + 128) + 4 * 128 + (128 + 1) * 192,
        ),
        (
            "vjepa_large_224",
            (1536 + 1) * 1024 + 24 * 12 * (1024**2 + 1024) + 2 * 1024,
            (1024 + 1) * 384 + 12 * 12 * (384**2 + 384) + 4 * 384 + (384 + 1) * 1024,
        ),
    ],
)
def test_presets_have_the_sizes_of_their_formula(
    preset, encoder_count, predictor_count, monkeypatch
):
    # Only their number counts, and zeros are quicker to make.
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: ops.zeros(shape, dtype),
    )
    size = PRESETS[preset]
    encoder = VideoEncoder(
        *(size["image_size"], size["patch_size"]),
        **{"num_frames": size["num_frames"], "tubelet_size": size["tubelet_size"]},
        **size["encoder"],
    )
    assert encoder.count_params() == encoder_count
    grid_size, hidden_dim = encoder.grid_size, encoder.hidden_dim
    assert (
        grid_size
        == {"vjepa_tiny_64": (4, 8, 8), "vjepa_large_224": (8, 14, 14)}[preset]
    )
    del encoder
    predictor = WorldModelPredictor(
        *(grid_size, hidden_dim),
        **size["predictor"],
        conditioning="none",
        num_mask_tokens=2,
    )
    assert predictor.count_params() == predictor_count


def test_a_preset_makes_the_model_and_takes_changes():
    method = method_of("vjepa_tiny_64")
    assert method is VideoWorldModel
    model = method.from_preset(
        *("vjepa_tiny_64", False),
        **{"num_frames": 4, "image_size": 32, "num_layers": 1, "predictor_layers": 1},
        **{"positions": "rotary", "ema_momentum": 0.9},
    )
    assert model.encoder.grid_size == (2, 4, 4)
    assert model.encoder.positions == model.predictor.positions == "rotary"
    counts = [(m.num_blocks, m.scale) for m in model.view_generator.masks]
    assert counts == [(8, (0.15, 0.15)), (2, (0.7, 0.7))]
    model = method.from_preset("vjepa_tiny_64", False, num_layers=1, predictor_layers=1)
    assert model.encoder.positions == model.predictor.positions == "uniform_power"
    assert model.encoder.initializer_stddev == 0.02


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ImageWorldModel.from_preset("vjepa_tiny_64", False), "another method"),
        (lambda: VideoWorldModel.from_preset("iwm_tiny_32", False), "another method"),
        (lambda: ViTEncoder.from_preset("vjepa_tiny_64", False), "Ask VideoEncoder"),
        (lambda: VideoEncoder.from_preset("iwm_tiny_32", False), "Ask ViTEncoder"),
        (lambda: small_model(masks=[VideoBlockMask((2, 5, 6))]), "grid_size"),
        (lambda: small_model(masks=[]), "`masks`"),
        (
            lambda: VideoWorldModel.from_encoder(ViTEncoder(16, 4, 12, 1, 2)),
            "a VideoEncoder",
        ),
        (lambda: small_model()(CLIPS[:, :2]), "must be clips"),
        (lambda: small_model().predict(CLIPS[:, 0]), "num_clips, frames"),
        (lambda: small_model().predict(CLIPS / 255), "almost black"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_mask_tokens": 1}, "2 mask tokens"),
        ({"conditioning": "feature"}, "conditioning 'none'"),
        ({"output_dim": 5}, "output_dim"),
    ],
)
def test_a_predictor_that_does_not_fit_is_refused(changes, words):
    model = small_model()
    config = {**model.predictor.get_config(), **changes}
    predictor = WorldModelPredictor.from_config(config)
    with pytest.raises(ValueError, match=words):
        VideoWorldModel(model.encoder, predictor, model.view_generator)
