"""Types of public signatures: all have them, and a type checker can use them."""

import collections.abc
import inspect
import pathlib
import types
import typing

import pytest

import keras_iwm
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor, read_published
from keras_iwm.backbones.converters.from_official import NETWORKS
from keras_iwm.backbones.world_model_predictor import CONDITIONINGS
from keras_iwm.backend import SUFFIXES
from keras_iwm.downstream import (
    ImageClassifier,
    ImageSegmenter,
    WorldModelBackbone,
    image_classifier,
    image_segmenter,
    world_model_backbone,
)
from keras_iwm.layers.position_embedding import FIXED, LEARNED, ROTARY
from keras_iwm.saving import preset_folder

USER_CODE = pathlib.Path(__file__).parent / "user_code"


def own_functions(kind):
    """Yield the public methods and properties that a class has from this library."""
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if name.startswith("_") and name != "__init__":
                continue
            if isinstance(member, property):
                yield from (member.fget, member.fset)
            else:
                yield getattr(member, "__func__", member)


def public_functions():
    """Return all functions of ours that users can reach from the rooms."""
    reached = []
    for room in vars(keras_iwm).values():
        if hasattr(room, "__path__") and room.__name__ != "keras_iwm.backend":
            for name, value in vars(room).items():
                if inspect.isclass(value) and not name.startswith("_"):
                    reached += own_functions(value)
                else:
                    reached.append(value)
    functions = map(inspect.unwrap, filter(callable, reached))
    return [
        function
        for function in dict.fromkeys(filter(inspect.isfunction, functions))
        if function.__module__.startswith("keras_iwm.")
    ]


def fits(value, hint):
    """Whether a default is of the type that is written beside it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple and ... not in arguments:
        matches = isinstance(value, tuple) and len(value) == len(arguments)
        return matches and all(map(fits, value, arguments))
    if origin in (collections.abc.Sequence, list, tuple):
        matches = isinstance(value, origin) and not isinstance(value, str)
        return matches and all(fits(part, arguments[0]) for part in value)
    if hint is float:
        return type(value) in (int, float)
    if hint in (bool, int):
        return type(value) is hint
    if getattr(hint, "_is_protocol", False):
        return hasattr(value, "shape")
    return isinstance(value, origin or hint)


def test_the_package_says_that_it_has_types():
    assert (pathlib.Path(keras_iwm.__file__).parent / "py.typed").is_file()


def test_all_arguments_and_results_have_types_that_fit_the_defaults():
    functions = public_functions()
    assert len(functions) > 400
    wrong = []
    for function in functions:
        path = f"{function.__module__}.{function.__qualname__}"
        hints = typing.get_type_hints(function)
        arguments = inspect.signature(function).parameters
        if "return" not in hints:
            wrong.append(f"{path} ->")
        for name, argument in arguments.items():
            if name in hints:
                default = argument.default
                if default is not argument.empty and not fits(default, hints[name]):
                    wrong.append(f"{path}: {name}: {hints[name]} = {default!r}")
            elif name not in ("self", "cls"):
                wrong.append(f"{path}: {name}")
    assert wrong == []


@pytest.mark.parametrize(
    ("function", "name", "choices"),
    [
        (ViTEncoder.export, "format", SUFFIXES),
        (ViTEncoder.save_to_preset, "weights_dtype", preset_folder.DTYPES),
        (ViTEncoder, "positions", (*FIXED, *LEARNED, *ROTARY)),
        (WorldModelPredictor, "conditioning", CONDITIONINGS),
        (WorldModelPredictor, "positions", (*FIXED, *ROTARY)),
        (read_published, "which", NETWORKS),
        (read_published, "positions", (*FIXED, *LEARNED, *ROTARY)),
        (WorldModelBackbone, "protocol", world_model_backbone.PROTOCOLS),
        (ImageClassifier, "head", image_classifier.HEADS),
        (ImageSegmenter, "head", image_segmenter.HEADS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_literals_are_what_is_checked(function, name, choices):
    function = function.__init__ if inspect.isclass(function) else function
    hint = typing.get_type_hints(function)[name]
    literals = [hint, *typing.get_args(hint)]
    literals = [kind for kind in literals if typing.get_origin(kind) is typing.Literal]
    assert set(typing.get_args(literals[0])) == set(choices)


def test_a_type_checker_finds_what_is_wrong_and_nothing_else(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(pathlib.Path(keras_iwm.__file__).parents[1]))
    monkeypatch.chdir(USER_CODE)
    output, errors, _ = api.run(
        ["--config-file=mypy.ini", f"--cache-dir={tmp_path}", "--hide-error-context"]
        + ["right_calls.py", "wrong_calls.py"]
    )
    assert errors == ""
    found = {tuple(line.split(":")[:2]) for line in output.splitlines()[:-1]}
    lines = (USER_CODE / "wrong_calls.py").read_text().splitlines()
    wrong = {
        ("wrong_calls.py", str(number))
        for number, line in enumerate(lines, 1)
        if line.endswith("# WRONG")
    }
    assert found == wrong, output
