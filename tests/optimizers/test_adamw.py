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


def run(optimizer, weights, gradients, dtype="float32"):
    variables = [keras.Variable(weight, dtype=dtype) for weight in weights]
    optimizer.build(variables)
    for step in gradients:
        step = [ops.convert_to_tensor(g, dtype=dtype) for g in step]
        optimizer.apply(step, variables)
    return [ops.convert_to_numpy(ops.cast(v, "float32")) for v in variables]


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


@pytest.mark.parametrize(
    ("dtype", "resolution"), [("bfloat16", 2.0**-7), ("float16", 2.0**-10)]
)
def test_half_precision_takes_the_same_steps(dtype, resolution):
    weights, gradients = random_problem(5)
    results = run(AdamW(0.1, 0.04), weights, gradients, dtype)
    expected = numpy_adamw(weights, gradients, [0.1] * 5, [0.04] * 5)
    for result, value in zip(results, expected, strict=True):
        # Each of five updates rounds weights of up to 2.
        np.testing.assert_allclose(result, value, atol=5 * resolution)


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


def test_recipe_takes_a_constant_decay_and_one_that_rises_from_zero():
    assert pretraining_recipe(10, 8, weight_decay=0.04).optimizer.decay == 0.04
    assert pretraining_recipe(10, 8, weight_decay=(0.1, 0.1)).optimizer.decay == 0.1
    for pair in ((0.0, 0.4), (0.4, 0.0)):
        schedule = pretraining_recipe(10, 8, weight_decay=pair).optimizer.decay
        for step in (0, 3, 5, 10, 20):
            share = (1 - np.cos(np.pi * min(step, 10) / 10)) / 2
            value = float(ops.convert_to_numpy(schedule(step)))
            assert value == pytest.approx(
                pair[0] + share * (pair[1] - pair[0]), abs=1e-6
            )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps": 2.5}, "steps"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"warmup_fraction": -0.1}, "warmup_fraction"),
        ({"ema_momentum": 1.1}, "ema_momentum"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"weight_decay": (0.1, 0.2, 0.3)}, "weight_decay"),
        ({"weight_decay": (0.1, "0.2")}, r"weight_decay\[1\]"),
    ],
)
def test_recipe_refuses_wrong_numbers(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        pretraining_recipe(**{"steps": 10, "batch_size": 8, **arguments})


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"beta_1": 1.0}, "beta_1"),
        ({"beta_2": "0.9"}, "beta_2"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"learning_rate_multipliers": {"a": float("inf")}}, "learning_rate_mult.*"),
        ({"learning_rate_multipliers": {"(": 1.0}}, "learning_rate_multipliers"),
    ],
)
def test_wrong_numbers_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        AdamW(**arguments)


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


def test_a_pattern_that_matches_nothing_is_refused():
    optimizer = AdamW(learning_rate_multipliers={"kernel": 0.1, "^encoder/": 0.5})
    variables = [keras.Variable(np.ones((2, 2)), name="kernel")]
    with pytest.raises(ValueError, match=r"'\^encoder/', found in none of 1, .*kernel"):
        optimizer.build(variables)
    assert not optimizer.built


def test_what_the_user_excludes_is_not_decayed_either():
    weights = [np.full((2, 3), 2.0, "float32") for _ in range(3)]
    names = ("kernel", "table", "mixing")

    def decayed(optimizer):
        variables = [
            keras.Variable(weight, name=name)
            for weight, name in zip(weights, names, strict=True)
        ]
        variables.append(keras.Variable(np.full((3,), 2.0), name="bias"))
        optimizer.exclude_from_weight_decay(var_list=[variables[1]], var_names=["ker"])
        for one in (optimizer, AdamW.from_config(optimizer.get_config())):
            one.build(variables)
            one.apply([ops.zeros_like(v.value) for v in variables], variables)
        return [float(ops.convert_to_numpy(v).max()) for v in variables]

    # Decayed twice: by the optimizer and by the one from its config.
    expected = [2.0, 2.0, 2.0 * 0.95**2, 2.0]
    np.testing.assert_allclose(decayed(AdamW(0.1, 0.5)), expected, rtol=1e-6)
    optimizer = AdamW()
    optimizer.build([keras.Variable(weights[0])])
    with pytest.raises(ValueError, match="before"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def remove_update_step(monkeypatch):
    monkeypatch.delattr(AdamW, "_backend_update_step")


def remove_variable_index(monkeypatch):
    for base in AdamW.__mro__:
        if "_get_variable_index" in vars(base):
            monkeypatch.delattr(base, "_get_variable_index")


def remove_torch_kernel(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.delattr(torch, "_fused_adamw_")


@pytest.mark.parametrize("accumulated", [None, 2])
@pytest.mark.parametrize(
    "remove", [remove_update_step, remove_variable_index, remove_torch_kernel]
)
def test_numbers_stay_without_private_hooks(monkeypatch, remove, accumulated):
    backend = keras.backend.backend()
    if remove is remove_torch_kernel and backend != "torch":
        pytest.skip("only Torch has it")
    if remove is remove_variable_index and accumulated:
        pytest.skip("Keras itself needs it")
    weights, gradients = random_problem(4)

    def result():
        optimizer = AdamW(
            CosineDecay(1e-2, 4),
            CosineDecay(0.4, 4),
            learning_rate_multipliers={"_0$": 0.5},
            gradient_accumulation_steps=accumulated,
        )
        variables = [
            keras.Variable(weight, name=f"weight_{index}")
            for index, weight in enumerate(weights)
        ]
        optimizer.build(variables)
        for step in gradients:
            optimizer.apply([ops.convert_to_tensor(g) for g in step], variables)
        return [ops.convert_to_numpy(variable) for variable in variables]

    expected = result()
    remove(monkeypatch)
    for mine, other in zip(result(), expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
