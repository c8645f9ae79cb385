"""Schedules, noise, steps back and samples of the heads that denoise."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops
from reference import numpy_vit

from keras_iwm.heads import DenoisingStepsHead, DiffusionHead
from keras_iwm.heads.cosine_schedule import cosine_schedule
from keras_iwm.heads.diffusion_head import step_probabilities
from keras_iwm.seeds import hash_seed

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def make(name, **arguments):
    """A head for 6 features and patches of 5 values, with no weight at zero."""
    arguments = {"hidden_dim": 8, "num_layers": 2, "seed": 3, **arguments}
    if name == "steps":
        head = DenoisingStepsHead(6, 5, num_steps=7, **arguments)
    else:
        head = DiffusionHead(6, 5, prediction=name, **arguments)
    draws = np.random.default_rng(7)
    head.set_weights([draws.normal(0, 0.3, w.shape) for w in head.get_weights()])
    return head


def answer(head, noisy, step, conditions):
    """What the network says, from NumPy to NumPy."""
    noisy, steps = noisy[:, None].astype("float32"), np.array([step])
    return ops.convert_to_numpy(head.network(noisy, steps, conditions))[:, 0]


def test_schedule_is_the_published_one():
    def share(time):
        return np.cos((time + 0.008) / 1.008 * np.pi / 2) ** 2

    product, expected = 1.0, [1.0]
    for step in range(1000):
        beta = min(1 - share((step + 1) / 1000) / share(step / 1000), 0.999)
        product *= 1 - beta
        expected.append(product)
    np.testing.assert_allclose(cosine_schedule(1000), expected, rtol=1e-9)
    assert 1e-9 < expected[-1] < 1e-8


@pytest.mark.parametrize("pair", [(0.03, 1.0), (0.5, 2.0), (3.0, 0.5)])
def test_steps_follow_the_beta_distribution(pair):
    shares = cosine_schedule(1000)
    distribution = scipy.stats.beta(*pair)
    above = np.append(distribution.cdf(shares[1:-1]), 0.0)
    expected = distribution.cdf(shares[:-1]) - above
    found = step_probabilities(shares, pair)
    np.testing.assert_allclose(np.cumsum(found), np.cumsum(expected), atol=2e-3)
    head = DiffusionHead(2, 3, 4, 1, signal_beta=pair, seed=0)
    steps = ops.convert_to_numpy(head._draw_steps((200, 100), 1))
    assert steps.min() >= 1
    assert steps.max() <= 1000
    drawn = np.bincount(steps.ravel(), minlength=1001)[1:] / steps.size
    np.testing.assert_allclose(np.cumsum(drawn), np.cumsum(expected), atol=0.02)


@pytest.mark.parametrize("name", ["noise", "clean", "steps"])
def test_noise_and_answers_match_numpy(name):
    head = make(name, num_noise_levels=2)
    targets = normal(4, 3, 1, 5)
    noise = normal(head.noises_per_level, 4, 3, 2, 5)
    steps = RNG.integers(1, len(head.shares), (4, 3, 2))
    steps[0, 0] = 1, len(head.shares) - 1
    noisy, wanted = head.add_noise(*map(ops.convert_to_tensor, (targets, steps, noise)))
    share = head.shares[steps][..., None]
    if name == "steps":
        before_share = head.shares[steps - 1][..., None]
        variance = 1 - share / before_share
        before = np.sqrt(before_share) * targets + np.sqrt(1 - before_share) * noise[0]
        expected = np.sqrt(1 - variance) * before + np.sqrt(variance) * noise[1]
        rebuilt = np.sqrt(1 - variance) * expected + np.sqrt(
            variance
        ) * ops.convert_to_numpy(wanted)
        np.testing.assert_allclose(rebuilt, before, atol=1e-5)
    else:
        expected = np.sqrt(share) * targets + np.sqrt(1 - share) * noise[0]
        right = noise[0] if name == "noise" else targets
        np.testing.assert_array_equal(ops.convert_to_numpy(wanted), right)
    np.testing.assert_allclose(ops.convert_to_numpy(noisy), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["noise", "clean", "steps"])
def test_first_answer_is_zero_and_the_loss_one(name):
    arguments = {"hidden_dim": 8, "num_layers": 1, "num_noise_levels": 8, "seed": 0}
    if name == "steps":
        head = DenoisingStepsHead(6, 5, **arguments)
    else:
        head = DiffusionHead(6, 5, prediction=name, **arguments)
    outputs = head(normal(40, 10, 6), normal(40, 10, 5), training=True)
    prediction, target = (
        ops.convert_to_numpy(outputs[k]) for k in ("prediction", "target")
    )
    assert prediction.shape == target.shape == (40, 10, 8, 5)
    assert not prediction.any()
    assert np.mean(target**2) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ["noise", "clean"])
@pytest.mark.parametrize("num_steps", [1, 6])
def test_diffusion_samples_match_the_textbook(name, num_steps):
    """Clean patch from the answer, then the posterior's mean and variance."""
    head = make(name)
    conditions = normal(3, 6)
    sample = ops.convert_to_numpy(
        head.sample(conditions, temperature=0.5, num_steps=num_steps, seed=1)
    )
    noise = keras.random.normal((num_steps + 1, 3, 1, 5), seed=hash_seed(1, 0))
    noise = ops.convert_to_numpy(noise)[:, :, 0]
    times = np.linspace(0, 1000 * num_steps / (num_steps + 1), num_steps + 1)
    times = [int(time) for time in np.round(times)]
    patches = noise[0].astype("float64")
    for index in range(num_steps, 0, -1):
        share, before = head.shares[times[index]], head.shares[times[index - 1]]
        beta = 1 - share / before
        said = answer(head, patches, times[index], conditions)
        clean = said
        if name == "noise":
            clean = (patches - np.sqrt(1 - share) * said) / np.sqrt(share)
        mean = np.sqrt(before) * beta / (1 - share) * clean
        mean += np.sqrt(1 - beta) * (1 - before) / (1 - share) * patches
        deviation = np.sqrt(beta * (1 - before) / (1 - share))
        patches = mean + 0.5 * deviation * noise[num_steps + 1 - index]
    np.testing.assert_allclose(sample, patches, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["noise", "clean"])
def test_no_step_back_multiplies_errors(name):
    head = make(name)
    for num_steps in (10, 100, 999):
        times = np.linspace(0, 1000 * num_steps / (num_steps + 1), num_steps + 1)
        shares = head.shares[times.round().astype(int)]
        pairs = zip(shares[1:], shares[:-1], strict=True)
        factors = [head._factors(*pair) for pair in pairs]
        assert factors[0][2] == 0  # the last step adds no noise
        assert np.abs(factors).max() < 3


def test_steps_back_match_numpy():
    head = make("steps")
    conditions = normal(3, 6)
    sample = head.sample(conditions, temperature=0.5, seed=1)
    noise = keras.random.normal((8, 3, 1, 5), seed=hash_seed(1, 0))
    noise = ops.convert_to_numpy(noise)[:, :, 0]
    patches = noise[0]
    for index, step in enumerate(range(7, 0, -1)):
        variance = 1 - head.shares[step] / head.shares[step - 1]
        said = answer(head, patches, step, conditions)
        said = said + 0.5 * noise[index + 1] * (step > 1)
        patches = np.sqrt(1 - variance) * patches + np.sqrt(variance) * said
    np.testing.assert_allclose(ops.convert_to_numpy(sample), patches, atol=1e-3)


@pytest.mark.parametrize("name", ["noise", "steps"])
def test_draws_are_new_in_training_and_the_same_without(name):
    head = make(name)
    data = normal(2, 3, 6), normal(2, 3, 5)

    def targets(**arguments):
        return ops.convert_to_numpy(head(*data, **arguments)["target"])

    assert np.abs(targets(training=True) - targets(training=True)).max() > 0.1
    np.testing.assert_array_equal(targets(), targets(training=False))

    few = {} if name == "steps" else {"num_steps": 5}

    def sample(**arguments):
        return ops.convert_to_numpy(head.sample(data[0], **few, **arguments))

    np.testing.assert_array_equal(sample(seed=1), sample(seed=1))
    assert np.abs(sample(seed=1) - sample(seed=2)).max() > 0.1
    assert np.abs(sample() - sample()).max() > 0.1
    assert sample().shape == (2, 3, 5)


def test_network_matches_numpy():
    head = make("noise")
    network = head.network
    w = numpy_vit.weights_of(network)
    noisy, conditions = normal(4, 3, 2, 5), normal(4, 3, 6)
    steps = RNG.integers(1, 1001, (4, 3, 2))

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def silu(x):
        return x / (1 + np.exp(-x))

    angles = steps[..., None] * 10_000.0 ** (-np.arange(128) / 128)
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    told = dense(silu(dense(features, "step")), "step_output")
    told = silu(told + dense(conditions, "condition")[:, :, None])
    x = dense(noisy.astype("float64"), "patch")
    for index in range(2):
        block = f"block_{index}"
        shift, scale, gate = np.split(dense(told, f"{block}/modulation"), 3, axis=-1)
        gamma, beta = w[f"{block}/norm/gamma"], w[f"{block}/norm/beta"]
        branch = numpy_vit.layer_norm(x, gamma, beta) * (1 + scale) + shift
        branch = silu(dense(branch, f"{block}/hidden"))
        x = x + gate * dense(branch, f"{block}/output")
    shift, scale = np.split(dense(told, "modulation"), 2, axis=-1)
    x = numpy_vit.layer_norm(x, 1.0, 0.0) * (1 + scale) + shift
    found = ops.convert_to_numpy(network(noisy, steps, conditions))
    np.testing.assert_allclose(found, dense(x, "output"), atol=2e-4)


def test_answers_depend_on_condition_and_step_but_on_no_other_patch():
    head = make("noise")
    noisy, conditions = normal(2, 1, 5), normal(2, 6)
    first = answer(head, noisy[:, 0], 500, conditions)
    assert np.abs(first - answer(head, noisy[:, 0], 400, conditions)).max() > 1e-3
    conditions[1] += 1
    second = answer(head, noisy[:, 0], 500, conditions)
    np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(first[1] - second[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["noise", "steps"])
def test_half_precision_leaves_noise_and_patches_alone(name):
    head, half = make(name), make(name, dtype="mixed_bfloat16")
    data = normal(2, 3, 6), normal(2, 3, 5)
    whole, rounded = head(*data), half(*data)
    for key in ("prediction", "target"):
        assert keras.backend.standardize_dtype(rounded[key].dtype) == "float32"
    np.testing.assert_array_equal(
        ops.convert_to_numpy(whole["target"]), ops.convert_to_numpy(rounded["target"])
    )
    expected, actual = (
        ops.convert_to_numpy(outputs["prediction"]) for outputs in (whole, rounded)
    )
    # Eight bits a number and some ten products and norms behind each other: their
    # rounding is a share of the largest value, whatever that is.
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()


class Sampler(keras.Model):
    """Draw a patch for each condition, after a step of learning for the compiler."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.squared_error = keras.losses.MeanSquaredError()
        self.built = True

    def call(self, conditions, training=None):
        if training:
            return self.head(conditions, conditions[..., :5], training=True)
        return self.head.sample(conditions, seed=1)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return self.squared_error(y_pred["target"], y_pred["prediction"])


def test_compiled_steps_learn_and_sample():
    head = DenoisingStepsHead(6, 5, 8, 1, num_steps=3, seed=0)
    sampler = Sampler(head)
    compiled = keras.backend.backend() != "torch"
    sampler.compile(keras.optimizers.SGD(0.5), jit_compile=compiled)
    conditions = normal(8, 2, 6)
    sampler.fit(conditions, batch_size=8, epochs=2, verbose=0)
    assert ops.convert_to_numpy(head.network.output_layer.kernel).any()
    found = sampler.predict(conditions, batch_size=8, verbose=0)
    assert found.shape == (8, 2, 5)
    assert found.std() > 0.1
    # The same seed, if not the numbers that it gives without the compiler.
    again = sampler.predict(conditions, batch_size=8, verbose=0)
    np.testing.assert_array_equal(found, again)


def test_wrong_sizes_are_refused():
    head = make("noise")
    with pytest.raises(ValueError, match="`conditions` must have 6 numbers"):
        head(normal(2, 7), normal(2, 5))
    with pytest.raises(ValueError, match="`targets` must have 5 numbers"):
        head(normal(2, 6), normal(2, 6))
    with pytest.raises(ValueError, match="`temperature`"):
        head.sample(normal(2, 6), temperature=-1)
    with pytest.raises(ValueError, match="`num_steps`"):
        head.sample(normal(2, 6), num_steps=1000)
    with pytest.raises(ValueError, match="`seed`"):
        head.sample(normal(2, 6), seed="a")
