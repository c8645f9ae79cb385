"""`compile(jit_compile=True)` on Torch: the numbers of eager steps, compiled once."""

import copy
import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from harness import MODELS, data_of, enable_lora, make, outputs_of, values
from keras import ops

if keras.backend.backend() != "torch":
    pytest.skip("other backends compile the whole step", allow_module_level=True)

import torch

from keras_iwm import actions, views
from keras_iwm.backend import torch_compiled_parts
from keras_iwm.backend.torch_model_step import TorchModelStep, running
from keras_iwm.layers import TransformerBlock

COMPILE = torch.compile
ALONE = ("encoder", "predictor", "backbone")  # no loss of their own
ALIKE = ("sequence", "none", "masked_autoencoder")  # parts as those of "feature"
TRAINED = [name for name in MODELS if name not in ALONE + ALIKE]
MADE = []  # names of what was compiled


def quick_compile(function, **arguments):
    """Trace as the compiler does, without writing C++, which takes seconds."""
    MADE.append(function.__name__)
    return COMPILE(function, **{**arguments, "backend": "aot_eager"})


def forget():
    """Have everything compiled anew."""
    torch_compiled_parts.compiled_for.cache_clear()
    torch_compiled_parts.compiler_works.cache_clear()
    MADE.clear()


@pytest.fixture(scope="module", autouse=True)
def _quick_compiler():
    torch.compile = quick_compile
    forget()
    yield
    torch.compile = COMPILE
    forget()


def trained(name, jit_compile, change=None, steps=5, **arguments):
    """A model after some steps of plain gradient descent."""
    keras.utils.set_random_seed(5)
    model = make(name, **arguments)
    if change is not None:
        change(model)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {"multi_task": {"loss": {"one": entropy, "two": entropy}}}
    model.compile(
        keras.optimizers.SGD(0.01), jit_compile=jit_compile, **losses.get(name, {})
    )
    fit(name, model, epochs=steps)
    return model


def fit(name, model, epochs=1):
    inputs, targets = data_of(name)
    model.fit(inputs, targets, batch_size=4, epochs=epochs, shuffle=False, verbose=0)


def assert_equal_weights(one, two, **tolerance):
    for mine, other in zip(values(one.variables), values(two.variables), strict=True):
        np.testing.assert_allclose(mine, other, **tolerance)


@pytest.mark.parametrize("name", TRAINED)
def test_five_steps_end_where_eager_ones_do(name):
    compiled = trained(name, True)
    assert torch_compiled_parts.compiled_for.cache_info().currsize
    assert_equal_weights(compiled, trained(name, False), atol=1e-5)


SWITCHES = {
    "drop path": {"drop_path_rate": 0.4},
    "remat": {"drop_path_rate": 0.4, "remat": True},
    "rotary": {"positions": "rotary"},
    "half": {"dtype": "mixed_bfloat16"},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_switches_go_on_working(switch):
    used = torch_compiled_parts.compiled_for.cache_info().hits
    compiled = trained("feature", True, steps=2, **SWITCHES[switch])
    assert torch_compiled_parts.compiled_for.cache_info().hits > used
    eager = trained("feature", False, steps=2, **SWITCHES[switch])
    assert_equal_weights(compiled, eager, atol=1e-5)


def test_low_rank_layers_run_as_they_are():
    made = len(MADE)
    compiled = trained("classifier", True, enable_lora, steps=2)
    assert len(MADE) == made
    eager = trained("classifier", False, enable_lora, steps=2)
    assert_equal_weights(compiled, eager, atol=1e-5)


def test_nothing_is_compiled_twice():
    forget()
    model = trained("feature", True, steps=1)
    # Of student, teacher and predictor, and of what asks whether the compiler works.
    assert sorted(MADE) == ["add_branches"] * 3 + ["sin"]
    inputs, _ = data_of("feature")
    for _ in range(2):
        model.evaluate(inputs, batch_size=4, verbose=0)
    # Without gradients, student and predictor are others.
    assert len(MADE) == 6
    fit("feature", model)
    trained("sequence", True, steps=1)  # its predictor has more tokens
    assert len(MADE) == 7


def test_views_are_compiled_once_and_go_with_their_model():
    forget()
    model = make("feature")
    model.compile(keras.optimizers.SGD(0.01), jit_compile=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 20, 18, 3), "uint8")
    model.fit(pixels, batch_size=4, epochs=2, verbose=0)
    model.evaluate(pixels, batch_size=4, verbose=0)
    assert MADE.count("forward") == 1
    (program,) = map(weakref.ref, model.train_function.programs.values())
    del model
    gc.collect()
    assert program() is None


@pytest.mark.parametrize(
    "arguments", [{}, {"jit_compile": False}, {"run_eagerly": True}]
)
def test_other_models_stay_eager(arguments):
    made = len(MADE)
    model = make("classifier")
    model.compile("sgd", **arguments)
    fit("classifier", model)
    model(*data_of("classifier")[:1])
    assert not model.jit_compile
    assert len(MADE) == made


def test_a_compiled_model_is_copied_saved_and_called(tmp_path):
    model = trained("classifier", True, steps=1)
    assert model.jit_compile
    expected = outputs_of("classifier", model)
    inputs, _ = data_of("classifier")
    predicted = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(predicted.ravel(), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.jit_compile  # it is for who loads a file to say
    for other in (loaded, copy.deepcopy(model)):
        np.testing.assert_allclose(outputs_of("classifier", other), expected, atol=1e-6)


def test_without_a_compiler_steps_are_eager_after_one_warning(monkeypatch):
    def refuse(function, **arguments):
        raise RuntimeError("no C++")

    forget()
    monkeypatch.setattr(torch, "compile", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = trained("classifier", True, steps=2)
        model.predict(data_of("classifier")[0], verbose=0)
    forget()
    messages = [str(w.message) for w in caught if "jit_compile" in str(w.message)]
    assert len(messages) == 1
    assert "CXX" in messages[0]
    assert "no C++" in messages[0]
    assert_equal_weights(model, trained("classifier", False, steps=2), atol=0)


def test_too_many_sizes_run_as_they_are_after_one_warning(monkeypatch):
    monkeypatch.setattr(torch_compiled_parts, "MOST_KINDS", 1)
    forget()
    with pytest.warns(UserWarning, match="of one size"):
        model = trained("classifier", True, steps=1)
    assert MADE == ["sin", "add_branches"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit("classifier", model)
    forget()


SPACE = actions.ActionSpace.default(16, 3)
MAKERS = {
    "all operations": lambda: views.ViewGenerator(
        16,
        views.MultiBlockMask(8, separate_blocks=True),
        [
            *(part for part in SPACE.shared.transforms),
            *(part for part in SPACE.destructive.transforms),
            *(actions.Flip(), actions.Rotation(), actions.RelativeCrop()),
            *(actions.ChannelGain(3), actions.ChannelOffset(3)),
            actions.TransformChain([actions.ChannelDropout(3, 1.0)], 0.5),
        ],
        seed=0,
    ),
    "quadrants": lambda: views.ViewGenerator(16, views.QuadrantMask(4), crop=None),
    "random patches": lambda: views.ViewGenerator(16, views.RandomMask(4, 0.5)),
    "two views": lambda: views.TwoViewGenerator(16, seed=0),
    "clips": lambda: views.ClipViewGenerator(
        16, 4, [views.VideoBlockMask((2, 4, 4))] * 2, seed=0
    ),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("compiles", [False, True])
def test_views_are_one_program_with_the_same_values(name, dtype, compiles):
    maker = MAKERS[name]()
    shape = (3, 4, 20, 18, 3) if name == "clips" else (3, 20, 18, 3)
    if getattr(maker, "crop", None) is None:
        shape = (3, 16, 16, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    made = MADE.count("forward")
    step = TorchModelStep(maker, compiles)
    compiled = step(pixels)
    assert MADE.count("forward") == made + compiles
    (program,) = step.programs.values()
    assert program is not None
    expected = maker(pixels)
    assert list(compiled) == list(expected)
    for key, value in expected.items():
        for mine, other in zip(
            *map(torch.utils._pytree.tree_leaves, (compiled[key], value)), strict=True
        ):
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(*values([mine, other]), atol=1e-4)


def test_draws_of_a_program_are_new():
    maker = MAKERS["all operations"]()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 18, 3), "uint8")

    def train(pixels):
        return maker(pixels, training=True)["action"]

    step = TorchModelStep(train, True)
    found = [step(pixels) for _ in range(3)]
    again = MAKERS["all operations"]()
    expected = [again(pixels, training=True)["action"] for _ in range(3)]
    np.testing.assert_allclose(*(np.stack(values(a)) for a in (found, expected)))
    assert not np.allclose(*values(found[:2]))


class Peeking(actions.Brightness):
    """An operation that asks for the values of a tensor, as compilers allow nowhere."""

    def apply(self, images, parameters):
        if float(parameters[0, 0]) > 1.0:
            return images
        return super().apply(images, parameters)


class Drawing(actions.Brightness):
    """An operation that draws by itself, which programs cannot repeat."""

    def __init__(self, range):
        super().__init__(range)
        self.seeds = keras.random.SeedGenerator(0)

    def apply(self, images, parameters):
        noise = keras.random.normal(images.shape, seed=self.seeds)
        return super().apply(images + 0.1 * noise, parameters)


class Learned(actions.Brightness):
    """An operation with a variable, which may change."""

    def __init__(self, range):
        super().__init__(range)
        self.share = keras.Variable(0.5)

    def apply(self, images, parameters):
        return super().apply(images, self.share * parameters)


@pytest.mark.parametrize("kind", [Peeking, Drawing, Learned])
def test_what_no_program_can_repeat_stays_eager(kind):
    def batches():
        maker = views.ViewGenerator(16, actions=[kind(0.5)], seed=0)
        step = TorchModelStep(
            lambda pixels: maker(pixels, training=True)["source"], False
        )
        return maker, step

    (maker, step), (eager, _) = batches(), batches()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 18, 3), "uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for share in (0.5, 0.5, 0.25):
            if kind is Learned:
                for one in (maker, eager):
                    one.action_space.shared.transforms[0].share.assign(share)
            found, expected = step(pixels), eager(pixels, training=True)["source"]
            np.testing.assert_array_equal(*values([found, expected]))
    assert list(step.programs.values()) == [None]


def test_recorded_views_are_those_of_the_attributes_of_the_last_compile():
    def losses(**arguments):
        model = make("feature")
        found = []
        for probability in (0.5, 0.0):
            model.view_generator.crop.flip_probability = probability
            model.compile(keras.optimizers.SGD(0.01), **arguments)
            pixels = np.random.default_rng(0).integers(0, 256, (8, 20, 18, 3), "uint8")
            found += model.fit(pixels, batch_size=4, shuffle=False, verbose=0).history[
                "loss"
            ]
        return found, model.train_function

    recorded, step = losses()
    assert all(step.programs.values())
    eager, function = losses(run_eagerly=True)
    assert not isinstance(function, TorchModelStep)
    np.testing.assert_allclose(recorded, eager, rtol=1e-5)


def test_what_asks_for_values_runs_as_it_is_after_one_warning():
    maker = views.ViewGenerator(16, actions=[Peeking(0.5)], seed=0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 18, 3), "uint8")
    step = TorchModelStep(maker, True)
    with pytest.warns(UserWarning, match="make_views. of ViewGenerator runs as it is"):
        found = step(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        step(pixels[:2])
    np.testing.assert_array_equal(*values([found["source"], maker(pixels)["source"]]))


def test_an_error_of_the_step_is_no_fault_of_the_compiler():
    model = trained("classifier", True, steps=1)
    with pytest.raises(ValueError, match="must have shape"):
        model.predict_on_batch(np.zeros((4, 16, 16, 5), "float32"))
    assert not running.get()


def test_what_the_compiler_writes_computes_the_same(monkeypatch):
    monkeypatch.setattr(torch, "compile", COMPILE)
    forget()
    block = TransformerBlock(num_heads=2, mlp_dim=24)
    draws = np.random.default_rng(0)
    block.build((3, 5, 12))
    block.set_weights([draws.normal(0, 0.3, w.shape) for w in block.get_weights()])
    tokens = draws.normal(size=(3, 5, 12)).astype("float32")

    def results(_=None):
        block.zero_grad()
        outputs = block(tokens)
        ops.sum(ops.square(outputs)).backward()
        return [outputs, *(weight.value.grad for weight in block.trainable_weights)]

    compiled = TorchModelStep(results, True)(None)
    for mine, expected in zip(values(compiled), values(results()), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5, rtol=1e-5)
    forget()
