"""Views and actions, and how they run inside a model."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import (
    ActionSpace,
    Brightness,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Solarization,
    Transform,
)
from keras_iwm.views import RandomResizedCrop
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.view_generator import ViewGenerator

SLOTS = (
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "gaussian_blur",
    "solarization",
)


@keras.saving.register_keras_serializable(package="test_view_generator")
class Gamma(Transform):
    """What a user would write."""

    parameters = ("gamma",)
    identity = (1.0,)

    def __init__(self, range=0.5, probability=1.0):
        super().__init__(probability)
        self.range = range

    @property
    def scales(self):
        return (2.0 * self.range,)

    def draw(self, uniforms):
        return 1.0 + self.range * (2.0 * uniforms - 1.0)

    def apply(self, images, parameters):
        return ops.power(images, ops.reshape(parameters, (-1, 1, 1, 1)))

    def get_config(self):
        return {"range": self.range, **super().get_config()}


def make_views(**arguments):
    """A small generator: 16 x 24 pixels, patches of 4 x 4 on a 6 x 6 grid."""
    if "shared" in arguments or "destructive" in arguments:
        default = ActionSpace.default((16, 24))
        arguments["actions"] = ActionSpace(
            arguments.pop("shared", default.shared.transforms),
            arguments.pop("destructive", default.destructive.transforms),
        )
    arguments = {"image_size": (16, 24), "mask": MultiBlockMask(6), **arguments}
    return ViewGenerator(**arguments)


def make_images(batch_size=4, height=20, width=30):
    """Smooth whole numbers, so that a blur is small and a crop is not constant."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (batch_size, height, width, 3), "uint8")


def run(views, images, training=False):
    """The views as NumPy arrays."""
    result = views(images, training=training)
    return {name: ops.convert_to_numpy(value) for name, value in result.items()}


def run_often(views, images, steps):
    """The views of many training steps, one after the other.

    Many small batches, because another batch size is compiled anew on JAX.
    """
    batches = [run(views, images, training=True) for _ in range(steps)]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def test_shapes_types_and_slots():
    views = make_views()
    assert views.action_space.slots == SLOTS
    assert views.action_space.action_dim == 7
    shared = views.action_space.shared
    assert shared.num_draws == 5
    assert shared.identity == (1.0, 1.0, 1.0, 0.0)
    np.testing.assert_allclose(shared.scales, [0.8, 0.8, 0.4, 0.2])
    batch = run(views, make_images(), training=True)
    assert batch["source"].shape == batch["target"].shape == (4, 16, 24, 3)
    assert batch["action"].shape == (4, 7)
    assert batch["context_ids"].shape == (4, 14)
    assert batch["target_ids"].shape == (4, 14)
    for name in ("source", "target", "action"):
        assert batch[name].dtype == np.float32
    for name in ("source", "target"):
        assert batch[name].min() >= 0.0
        assert 1.0 < batch[name].max() <= 255.0


def test_blur_fits_the_image_size_by_default():
    mask = MultiBlockMask(6)
    blur = ViewGenerator(96, mask).action_space.destructive.transforms[1]
    assert blur.sigma == (0.4, 1.0)
    blur = ViewGenerator(97, mask).action_space.destructive.transforms[1]
    assert blur.sigma == (0.1, 2.0)


def test_nothing_random_gives_the_image_twice_and_the_null_action():
    views = make_views(crop=None, shared=(), destructive=())
    images = make_images(4, 16, 24)
    batch = run(views, images, training=True)
    # To [0, 1] and back costs two roundings of float32 at 255.
    np.testing.assert_allclose(batch["source"], images, atol=4e-5)
    np.testing.assert_array_equal(batch["source"], batch["target"])
    assert batch["action"].shape == (4, 0)


def test_closed_gates_give_the_null_action():
    views = make_views(
        crop=None,
        shared=(ColorJitter(probability=0.0),),
        destructive=(Grayscale(0.0), GaussianBlur(probability=0.0)),
    )
    images = make_images(4, 16, 24)
    batch = run(views, images, training=True)
    # Hue goes through HSV and back, 1e-6 of 255.
    np.testing.assert_allclose(batch["source"], images, atol=3e-4)
    np.testing.assert_allclose(batch["target"], images, atol=3e-4)
    np.testing.assert_array_equal(batch["action"], np.zeros((4, 6)))


def test_action_is_target_minus_source_over_its_scale():
    views = make_views(crop=None, shared=(Brightness(range=0.4),), destructive=())
    images = np.full((4, 16, 24, 3), 100, "uint8")
    batch = run_often(views, images, 16)
    source = batch["source"].mean((1, 2, 3)) / 100
    target = batch["target"].mean((1, 2, 3)) / 100
    np.testing.assert_allclose(
        batch["action"][:, 0], (target - source) / 0.8, atol=1e-5
    )
    # Source and target have their own draws, and so has each image.
    assert np.abs(np.corrcoef(source, target)[0, 1]) < 0.4
    assert len(np.unique(source.round(6))) > 60
    assert batch["action"].min() >= -1.0
    assert batch["action"].max() <= 1.0


def test_shared_action_divides_by_the_scales_and_clears_the_flags():
    views = make_views()
    source = np.array([[0.6, 1.0, 1.2, -0.1], [1.0, 1.0, 1.0, 0.0]], "float32")
    target = np.array([[1.4, 0.8, 0.8, 0.1], [1.0, 1.0, 1.0, 0.0]], "float32")
    action = ops.convert_to_numpy(views.action_space.between(source, target))
    expected = [[1.0, -0.25, -1.0, 1.0, 0, 0, 0], [0.0] * 7]
    np.testing.assert_allclose(action, expected, atol=1e-6)


def test_a_range_of_zero_gives_a_slot_of_zero():
    views = make_views(shared=(ColorJitter(hue=0.0),), destructive=())
    action = run(views, make_images(), training=True)["action"]
    assert np.isfinite(action).all()
    np.testing.assert_array_equal(action[:, 3], 0.0)


def test_apply_shared_is_what_call_does_to_the_target():
    views = make_views(crop=None, shared=(ColorJitter(probability=1.0),))
    images = make_images(4, 16, 24)
    uniforms = np.random.default_rng(1).random((4, 5), "float32")
    parameters = views.action_space.shared.sample(uniforms)
    expected = ColorJitter(probability=1.0).apply(
        ops.convert_to_tensor(images / 255.0, dtype="float32"), parameters
    )
    result = ops.convert_to_numpy(views.apply_shared(images, parameters))
    np.testing.assert_allclose(
        result, 255.0 * ops.convert_to_numpy(expected), atol=1e-3
    )
    identity = np.repeat([views.action_space.shared.identity], 4, axis=0)
    result = ops.convert_to_numpy(views.apply_shared(images, identity))
    np.testing.assert_allclose(result, images, atol=3e-4)


def test_destructive_operations_touch_only_the_source_and_set_their_flag():
    images = make_images(4, 16, 24)
    for transform, slot in (
        (Grayscale(0.5), "grayscale"),
        (GaussianBlur(probability=0.5), "gaussian_blur"),
        (Solarization(probability=0.5), "solarization"),
    ):
        views = make_views(crop=None, shared=(), destructive=(transform,), seed=1)
        assert views.action_space.slots == (slot,)
        batch = run_often(views, images, 25)
        repeated = np.tile(images, (25, 1, 1, 1))
        np.testing.assert_allclose(batch["target"], repeated, atol=4e-5)
        changed = np.abs(batch["source"] - repeated).max((1, 2, 3)) > 0.5
        flags = batch["action"][:, 0]
        # A blur of sigma 0.1 to 0.3 moves hardly anything, yet is flagged.
        assert (changed <= (flags == 1.0)).all()
        if slot != "gaussian_blur":
            np.testing.assert_array_equal(changed, flags == 1.0)
        # 100 draws: four standard errors are 0.2.
        assert abs(flags.mean() - 0.5) < 0.2


def test_gates_open_at_the_paper_rates():
    batch = run_often(make_views(seed=2), make_images(), 100)
    flags = batch["action"][:, 4:]
    assert set(np.unique(flags)) == {0.0, 1.0}
    # 400 draws: four standard errors are 0.08.
    np.testing.assert_allclose(flags.mean(0), [0.2, 0.2, 0.2], atol=0.08)
    # Both jitters skipped, at 0.2 each, is the null action of the jitter.
    skipped = (batch["action"][:, :4] == 0.0).all(axis=1).mean()
    assert abs(skipped - 0.04) < 0.039
    assert np.abs(batch["action"][:, :4]).max() <= 1.0
    assert np.abs(batch["action"][:, :4]).max() > 0.9
    # The gates are drawn apart.
    assert np.abs(np.corrcoef(flags.T) - np.eye(3)).max() < 0.2


def test_crop_is_shared_by_both_views_and_differs_between_images():
    views = make_views(shared=(), destructive=())
    images = np.repeat(make_images(1), 4, axis=0)
    batch = run(views, images, training=True)
    np.testing.assert_array_equal(batch["source"], batch["target"])
    for index in range(1, 4):
        assert np.abs(batch["source"][index] - batch["source"][0]).max() > 10


def test_bytes_and_floats_give_the_same_views():
    views, images = make_views(seed=3), make_images()
    from_bytes = run(views, images)
    for dtype in ("float32", "float64", "int32"):
        from_other = run(views, images.astype(dtype))
        for name, value in from_bytes.items():
            np.testing.assert_array_equal(value, from_other[name])


def test_value_ranges_agree():
    images = make_images()
    wide = run(make_views(seed=4), images)
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        values = images / 255.0 * (high - low) + low
        narrow = run(make_views(seed=4, value_range=(low, high)), values)
        for name in ("source", "target"):
            assert narrow[name].min() >= low
            assert narrow[name].max() <= high
            np.testing.assert_allclose(
                (narrow[name] - low) / (high - low), wide[name] / 255.0, atol=5e-6
            )
        for name in ("action", "context_ids", "target_ids"):
            np.testing.assert_array_equal(narrow[name], wide[name])


def test_values_out_of_range_are_clipped_and_nan_is_the_smallest():
    views = make_views(seed=5)
    images = make_images().astype("float32")
    images[0, :5], images[1, :5], images[2, :5] = -1e6, 1e6, np.nan
    images[3, 0, 0, 0], images[3, 0, 1, 0] = np.inf, -np.inf
    clean = np.clip(np.nan_to_num(images, nan=0.0), 0, 255)
    result, expected = run(views, images), run(views, clean)
    for name, value in expected.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(result[name], value)


def test_without_training_the_draws_are_always_the_same():
    images = make_images()
    views = make_views(seed=6)
    first = run(views, images)
    run(views, images, training=True)
    again, rebuilt = run(views, images), run(make_views(seed=6), images)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        np.testing.assert_array_equal(value, rebuilt[name])
    assert np.abs(run(make_views(seed=7), images)["action"] - first["action"]).max() > 0


def test_without_training_a_smaller_batch_gets_the_first_draws_of_a_larger():
    views = make_views(crop=None, shared=(), destructive=(), seed=6)
    images = make_images(4, 16, 24)
    whole, part = run(views, images), run(views, images[:3])
    np.testing.assert_array_equal(whole["context_ids"][:3], part["context_ids"])
    np.testing.assert_array_equal(whole["target_ids"][:3], part["target_ids"])


def test_training_draws_differ_by_call_and_follow_the_seed():
    images = make_images()
    views, twin, other = make_views(seed=8), make_views(seed=8), make_views(seed=9)
    first, second = run(views, images, True), run(views, images, True)
    assert np.abs(first["source"] - second["source"]).max() > 1.0
    assert np.abs(first["action"] - second["action"]).max() > 0.01
    for name, value in first.items():
        np.testing.assert_array_equal(
            value, run(make_views(seed=8), images, True)[name]
        )
    run(twin, images, True)
    np.testing.assert_array_equal(run(twin, images, True)["action"], second["action"])
    # Seed 9 must not be seed 8 one step later.
    assert np.abs(run(other, images, True)["action"] - second["action"]).max() > 0.01


def test_half_precision_policy_leaves_views_in_float32():
    images = make_images().astype("float32") + 0.37
    expected = run(make_views(seed=10), images)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = run(make_views(seed=10), images)
    finally:
        keras.config.set_dtype_policy(policy)
    for name, value in expected.items():
        assert result[name].dtype == value.dtype
        np.testing.assert_array_equal(result[name], value)


def test_a_transform_of_ones_own_gets_its_slot():
    views = make_views(crop=None, shared=(Gamma(range=0.25),), destructive=())
    assert views.action_space.slots == ("gamma",)
    images = np.full((4, 16, 24, 3), 64, "uint8")
    batch = run(views, images, training=True)
    exponents = [
        np.log(batch[name][:, 0, 0, 0] / 255) / np.log(64 / 255)
        for name in ("source", "target")
    ]
    np.testing.assert_allclose(
        batch["action"][:, 0], (exponents[1] - exponents[0]) / 0.5, atol=1e-4
    )
    both = make_views(shared=(ColorJitter(), Gamma()), destructive=(Grayscale(),))
    assert both.action_space.slots == (*SLOTS[:4], "gamma", "grayscale")
    assert both.action_space.shared.identity == (1.0, 1.0, 1.0, 0.0, 1.0)
    destructive = make_views(shared=(), destructive=(Gamma(),))
    assert destructive.action_space.slots == ("gamma",)
    assert (run(destructive, make_images())["action"] == 1.0).all()


def test_configuration_comes_back():
    views = make_views(
        crop=RandomResizedCrop((16, 24), scale=(0.5, 0.8)),
        shared=(ColorJitter(strength=2.0), Gamma(range=0.3)),
        destructive=(Solarization(threshold=0.6, probability=0.9),),
        value_range=(-1, 1),
        seed=11,
        name="views",
    )
    description = keras.saving.serialize_keras_object(views)
    copy = keras.saving.deserialize_keras_object(description)
    assert copy.get_config() == views.get_config()
    assert copy.name == "views"
    assert copy.action_space.slots == views.action_space.slots
    images = make_images() / 127.5 - 1.0
    expected, result = run(views, images), run(copy, images)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)
    bare = make_views(crop=None, shared=(), destructive=())
    copy = ViewGenerator.from_config(bare.get_config())
    assert copy.get_config() == bare.get_config()
    assert copy.crop is None
    assert copy.action_space.slots == ()
    # Objects are as welcome as their dictionaries.
    assert ViewGenerator.from_config({**bare.get_config(), "mask": bare.mask})


def test_separate_blocks_pass_through():
    views = make_views(
        mask=MultiBlockMask(6, separate_blocks=True), shared=(), destructive=()
    )
    assert run(views, make_images())["target_ids"].shape == (4, 4, 6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": -1}, "`image_size`"),
        ({"crop": RandomResizedCrop(32)}, "`crop`.*32"),
        ({"actions": None}, "`actions`.*()"),
        ({"actions": ("brightness",)}, "`actions`.*Transform"),
        ({"shared": (ColorJitter(), Brightness())}, "brightness"),
        ({"shared": (Grayscale(),), "destructive": (Grayscale(),)}, "grayscale"),
        ({"value_range": (255, 0)}, "`value_range`"),
        ({"value_range": 255}, "`value_range`"),
        ({"seed": 1.5}, "`seed`"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_views(**arguments)


def test_a_transform_must_tell_identity_and_scale_of_each_parameter():
    gamma = Gamma()
    gamma.identity = (1.0, 1.0)
    with pytest.raises(ValueError, match="Gamma in `shared`"):
        make_views(shared=(gamma,))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((20, 30, 3), "uint8"), "batch axis"),
        (np.zeros((2, 3, 20, 30), "uint8"), "channels last"),
        (np.zeros((2, 20, 30, 1), "float32"), "num_channels"),
        (np.zeros((2, 20, 30, 3), bool), "dtype: bool"),
        ([np.zeros((20, 30, 3), "uint8")] * 2, "one tensor"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images, words):
    with pytest.raises(ValueError, match=words):
        make_views()(images)


def test_without_a_crop_images_must_fit():
    with pytest.raises(ValueError, match="Without a crop"):
        make_views(crop=None)(make_images())


@keras.saving.register_keras_serializable(package="test_view_generator")
class ViewModel(keras.Model):
    """The views inside a model that fits, as an image world model has them."""

    def __init__(self, views):
        super().__init__()
        self.views = views
        self.head = keras.layers.Dense(1, name="head")
        self.seen = keras.Variable(
            np.zeros((7,), "float32"), trainable=False, name="seen"
        )

    def call(self, images, training=None):
        views = self.views(images, training=training)
        self.seen.assign(ops.mean(ops.abs(views["action"]), axis=0))
        pixels = ops.mean(views["source"] - views["target"], axis=(1, 2)) / 255.0
        positions = ops.cast(views["context_ids"][:, :1], "float32")
        return self.head(ops.concatenate([pixels, positions / 36.0], axis=-1))


def test_views_inside_a_compiled_fit():
    # "auto" would leave XLA out on a TensorFlow without accelerator.
    jit_compile = keras.backend.backend() != "torch"
    model = ViewModel(make_views(seed=12))
    model.compile("sgd", "mse", jit_compile=jit_compile)
    images = make_images(8)
    model.fit(images, np.zeros((8, 1)), batch_size=4, epochs=1, verbose=0)
    first = ops.convert_to_numpy(model.seen)
    model.fit(images, np.zeros((8, 1)), batch_size=4, epochs=1, verbose=0)
    second = ops.convert_to_numpy(model.seen)
    assert np.isfinite(first).all()
    assert np.abs(first - second).max() > 0.0
    losses = [
        model.evaluate(images, np.zeros((8, 1)), batch_size=4, verbose=0)
        for _ in range(2)
    ]
    assert losses[0] == losses[1]
    # No tracer may be left behind: the layer still runs on its own.
    assert np.isfinite(run(model.views, images, training=True)["action"]).all()


def test_batch_size_may_be_unknown():
    views = make_views(seed=13)
    images = keras.Input((20, 30, 3))
    model = keras.Model(images, views(images))
    expected = run(views, make_images())
    result = model(make_images(), training=False)
    for name, value in expected.items():
        # A graph may fuse a product and a sum that run apart when eager.
        np.testing.assert_allclose(ops.convert_to_numpy(result[name]), value, atol=1e-3)
        assert model.output[name].shape[0] is None


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.function is TensorFlow's own"
)
def test_tf_function_with_unknown_batch_size():
    import tensorflow as tf

    views = make_views(seed=14)
    signature = [tf.TensorSpec((None, 20, 30, 3), "uint8")]
    traced = tf.function(lambda images: views(images, training=False), signature)
    for batch_size in (1, 3):
        images = make_images(batch_size)
        expected = run(views, images)
        for name, value in traced(tf.constant(images)).items():
            np.testing.assert_allclose(value.numpy(), expected[name], atol=1e-3)
