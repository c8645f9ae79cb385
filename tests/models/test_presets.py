import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import PRESETS, ViTEncoder, WorldModelPredictor
from keras_iwm.models import ImageWorldModel

WORLD_MODELS = [name for name in PRESETS if name.startswith(("iwm_tiny", "ijepa_tiny"))]


def millions(model):
    return model.count_params() / 1e6


@pytest.mark.parametrize(
    ("preset", "encoder_millions", "predictor_millions"),
    [
        ("iwm_base_224_invariant", 85.65, 22.3),
        ("iwm_base_224_equivariant", 85.65, 33.0),
        ("iwm_large_224_equivariant", 303.0, 115.3),
    ],
)
def test_parameter_counts_are_the_papers(
    preset, encoder_millions, predictor_millions, monkeypatch
):
    # Only their number counts, and zeros are quicker to make.
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: ops.zeros(shape, dtype),
    )
    size = PRESETS[preset]
    side = size["image_size"] // size["patch_size"]
    encoder = ViTEncoder(size["image_size"], size["patch_size"], **size["encoder"])
    # Without the key biases, which a softmax cancels: 12 x 768 fewer in ViT-B.
    assert millions(encoder) == pytest.approx(encoder_millions, rel=2e-3)
    hidden_dim = encoder.hidden_dim
    del encoder
    predictor = WorldModelPredictor((side, side), hidden_dim, **size["predictor"])
    assert millions(predictor) == pytest.approx(predictor_millions, rel=3e-3)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="only Torch counts without memory"
)
@pytest.mark.parametrize(
    ("preset", "published"),
    [
        # Of I-JEPA's encoders, as timm counts them.
        ("ijepa_huge_224", 630_762_240),
        ("ijepa_huge_448", 631_668_480),
        ("ijepa_giant_224", 1_011_368_576),
    ],
)
def test_sizes_of_published_weights(preset, published):
    size = PRESETS[preset]
    with keras.device("meta"):
        encoder = ViTEncoder(size["image_size"], size["patch_size"], **size["encoder"])
    # They store fixed positions, and biases of keys, which the softmax cancels.
    width = encoder.hidden_dim
    stored = (encoder.num_patches + encoder.num_layers) * width
    assert encoder.count_params() == published - stored
    predictor = size["predictor"]
    assert predictor["num_heads"] == size["encoder"]["num_heads"] == 16
    assert (predictor["num_layers"], predictor["predictor_dim"]) == (12, 384)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("iwm_base_224_invariant", 21.9), ("iwm_base_224_equivariant", 32.5)],
)
def test_unconditioned_predictors_lack_the_action_mlp(preset, expected):
    predictor = WorldModelPredictor(
        (14, 14), 768, **PRESETS[preset]["predictor"], conditioning="none"
    )
    assert millions(predictor) == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("preset", WORLD_MODELS)
def test_small_presets_predict(preset):
    model = ImageWorldModel.from_preset(preset, load_weights=False, seed=0)
    size = PRESETS[preset]["image_size"]
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), "uint8")
    outputs = model(images)
    assert outputs["prediction"].shape == outputs["target"].shape
    assert np.isfinite(ops.convert_to_numpy(outputs["prediction"])).all()
    assert model.predictor.conditioning == (
        "none" if preset.startswith("ijepa") else "feature"
    )


def test_overrides_reach_their_parts():
    model = ImageWorldModel.from_preset(
        "iwm_tiny_32",
        load_weights=False,
        conditioning="sequence",
        jitter_strength=2.0,
        jitter_probability=1.0,
        predictor_layers=2,
        image_size=(32, 48),
        patch_size=4,
        value_range=(0, 1),
        drop_path_rate=0.1,
        remat=True,
        seed=5,
        dtype="mixed_bfloat16",
        ema_momentum=0.9,
        num_classes=3,
    )
    assert model.predictor.conditioning == "sequence"
    assert model.predictor.num_layers == len(model.predictor.blocks) == 2
    assert model.action_space.shared.scales == pytest.approx((1.6, 1.6, 0.8, 0.4))
    assert model.action_space.shared.transforms[0].probability == 1.0
    assert model.encoder.grid_size == model.predictor.grid_size == (8, 12)
    assert model.value_range == (0, 1)
    assert model.encoder.blocks[-1].drop_path_rate == 0.1
    assert model.predictor.remat
    assert model.encoder.compute_dtype == "bfloat16"
    assert model.view_generator.seed == 5
    assert (model.ema_momentum, model.num_classes) == (0.9, 3)


def test_unknown_presets_and_impossible_conditioning_are_refused():
    with pytest.raises(ValueError, match="iwm_tiny_32"):
        ImageWorldModel.from_preset("iwm_huge", load_weights=False)
    with pytest.raises(ValueError, match="no action"):
        ImageWorldModel.from_preset(
            "ijepa_tiny_32", load_weights=False, conditioning="feature"
        )
    with pytest.raises(ValueError, match="jitter_strength"):
        ImageWorldModel.from_preset(
            "ijepa_tiny_32", load_weights=False, jitter_strength=2.0
        )
    with pytest.raises(ValueError, match="sed"):
        ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, sed=3)
