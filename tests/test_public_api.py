"""Every public class is registered and rebuilds from its config."""

import inspect

import keras
import numpy as np
import pytest
from harness import EXAMPLES

import keras_iwm
from keras_iwm import (
    actions,
    backbones,
    downstream,
    evaluation,
    heads,
    layers,
    metrics,
    models,
    optimizers,
    planning,
    views,
)

WITH_WEIGHTS = list(
    dict.fromkeys(type(e) for e in EXAMPLES if isinstance(e, keras.layers.Layer))
)


def public_classes():
    modules = (
        *(actions, backbones, downstream, evaluation, heads, layers, metrics, models),
        *(optimizers, views),
    )
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) and not name.startswith("_"):
                yield value


def test_every_public_class_with_a_config_has_an_example():
    configured = {c for c in public_classes() if hasattr(c, "get_config")}
    assert configured - {type(e) for e in EXAMPLES} == {actions.Transform}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: type(e).__name__)
def test_object_rebuilds_from_its_serialised_config(example):
    config = keras.saving.serialize_keras_object(example)
    assert config["registered_name"] == f"keras_iwm>{type(example).__name__}"
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(rebuilt) == config


@pytest.mark.parametrize("kind", WITH_WEIGHTS, ids=lambda kind: kind.__name__)
def test_examples_set_every_argument_to_another_value_than_its_default(kind):
    """What a config forgets would else come back by luck."""
    configs = [e.get_config() for e in EXAMPLES if type(e) is kind]
    for argument in inspect.signature(kind).parameters.values():
        if argument.default not in (inspect.Parameter.empty, None):
            assert any(
                config[argument.name] != argument.default for config in configs
            ), argument.name


def test_public_things_have_docstrings_with_examples():
    modules = (
        *(keras_iwm.callbacks, keras_iwm.datasets, keras_iwm.distribution),
        *(keras_iwm.embeddings, keras_iwm.saving, keras_iwm.visualization),
        *(actions, backbones, downstream, evaluation, heads, layers, metrics, models),
        *(optimizers, planning, views),
    )
    for module in modules:
        for name, value in vars(module).items():
            is_public = inspect.isclass(value) or inspect.isfunction(value)
            if is_public and not name.startswith("_"):
                assert value.__doc__, name
                assert "```python" in value.__doc__, f"{name} has no example"


@pytest.mark.parametrize("kind", [models.ImageWorldModel, models.ContrastiveModel])
def test_weights_of_the_whole_model_survive_saving(kind, tmp_path):
    model = next(e for e in EXAMPLES if isinstance(e, kind))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
