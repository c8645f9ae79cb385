import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.optimizers import AdamW, pretraining_recipe

CosineDecay = keras.optimizers.schedules.CosineDecay


def numpy_adamw(weights, gradients, learning_rates, decays, beta_2=0.999):
    """The decoupled update, one parameter at a time, in float64."""
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    weights = [w.astype("float64") for w in weights]
    for step, (rate, decay) in enumerate(
        zip(learning_rates, decays, strict=True), start=1
    ):
        for index, gradient in enumerate(gradients[step - 1]):
            if sum(side > 1 for side in gradient.shape) >= 2:
                weights[index] -= rate * decay * weights[index]
            first, second = moments[index]
            first = 0.9 * first + 0.1 * gradient
            second = beta_2 * second + (1 - beta_2) * gradient**2
            moments[index] = [first, second]
            corrected = np.sqrt(second / (1 - beta_2**step)) + 1e-8
            weights[index] -= rate * first / (1 - 0.9**step) / corrected
    return weights


def random_problem(steps):
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (4,), (1, 1, 4)]
    weights = [rng.normal(size=shape).astype("float32") for shape in shapes]
    gradients = [
        [rng.normal(size=shape).astype("float32") for shape in shapes]
        for _ in range(steps)
    ]
    return weights, gradients


def run(optimizer, weights, gradients):
    variables = [keras.Variable(weight) for weight in weights]
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in step], variables)
    return [ops.convert_to_numpy(variable) for variable in variables]


def test_updates_with_schedules_equal_numpy():
    weights, gradients = random_problem(5)
    results = run(
        AdamW(CosineDecay(1e-2, 10), CosineDecay(0.4, 10, alpha=10.0), beta_2=0.95),
        weights,
        gradients,
    )
    cosine = [(1 + np.cos(np.pi * step / 10)) / 2 for step in range(5)]
    expected = numpy_adamw(
        weights,
        gradients,
        [1e-2 * c for c in cosine],
        [0.4 * (c + 10 * (1 - c)) for c in cosine],
        beta_2=0.95,
    )
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value, atol=1e-6)


def test_accumulated_gradients_count_as_one_update():
    weights, gradients = random_problem(4)
    optimizer = AdamW(
        CosineDecay(1e-2, 4), CosineDecay(0.4, 4), gradient_accumulation_steps=2
    )
    results = run(optimizer, weights, gradients)
    means = [
        [(a + b) / 2 for a, b in zip(*gradients[start : start + 2], strict=True)]
        for start in (0, 2)
    ]
    cosine = [(1 + np.cos(np.pi * step / 4)) / 2 for step in range(2)]
    expected = numpy_adamw(
        weights, means, [1e-2 * c for c in cosine], [0.4 * c for c in cosine]
    )
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value, atol=1e-6)


def test_tokens_norms_and_biases_are_not_decayed():
    weights, gradients = random_problem(1)
    gradients = [[np.zeros_like(gradient) for gradient in gradients[0]]]
    kernel, bias, token = run(AdamW(0.1, 0.5), weights, gradients)
    np.testing.assert_allclose(kernel, weights[0] * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(bias, weights[1])
    np.testing.assert_array_equal(token, weights[2])


@pytest.mark.parametrize("decay", [0.3, CosineDecay(0.04, 7, alpha=10.0)])
def test_optimizer_rebuilds_from_its_config(decay):
    optimizer = AdamW(CosineDecay(1e-2, 5), decay, beta_1=0.8, clipnorm=1.0)
    config = keras.saving.serialize_keras_object(optimizer)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(rebuilt) == config
    weights, gradients = random_problem(2)
    for one, two in zip(
        run(optimizer, weights, gradients),
        run(rebuilt, weights, gradients),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_recipe_starts_and_ends_where_the_family_does():
    optimizer, momentum = pretraining_recipe(3000, 2048)

    def at(schedule, step):
        return float(ops.convert_to_numpy(schedule(step)))

    rate = optimizer._learning_rate
    assert at(rate, 0) == pytest.approx(2e-4)
    assert at(rate, 400) == pytest.approx(1e-3)
    assert at(rate, 3000) == pytest.approx(1e-6, rel=1e-3)
    assert at(optimizer.decay, 0) == pytest.approx(0.04)
    assert at(optimizer.decay, 3000) == pytest.approx(0.4)
    assert at(momentum, 0) == pytest.approx(0.996)
    assert at(momentum, 1500) == pytest.approx(0.998)
    assert at(momentum, 9000) == 1.0
    small = pretraining_recipe(3000, 128)[0]
    assert at(small._learning_rate, 400) == pytest.approx(2.5e-4)


@pytest.mark.parametrize("arguments", [(0, 8), (10, 0), (2.5, 8)])
def test_recipe_refuses_wrong_numbers(arguments):
    with pytest.raises(ValueError, match="positive integer"):
        pretraining_recipe(*arguments)


def test_multipliers_scale_rate_and_decay_of_their_parameters():
    weights, gradients = random_problem(4)
    optimizer = AdamW(1e-2, 0.4, learning_rate_multipliers={"^slow": 0.1, "fast$": 3.0})
    variables = [
        keras.Variable(weight, name=name)
        for weight, name in zip(weights, ("slow_fast", "fast", "other"), strict=True)
    ]
    optimizer.build(variables)
    rebuilt = AdamW.from_config(optimizer.get_config())
    assert rebuilt.learning_rate_multipliers == {"^slow": 0.1, "fast$": 3.0}
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in step], variables)
    for index, multiplier in enumerate((0.1, 3.0, 1.0)):
        (expected,) = numpy_adamw(
            [weights[index]],
            [[step[index]] for step in gradients],
            [1e-2 * multiplier] * 4,
            [0.4] * 4,
        )
        np.testing.assert_allclose(
            ops.convert_to_numpy(variables[index]), expected, atol=1e-6
        )
