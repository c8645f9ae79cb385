"""`compile(jit_compile=True)` on Torch: the numbers of eager steps, compiled once."""

import functools
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import ViTEncoder
from keras_iwm.downstream import ImageClassifier, WorldModelBackbone
from keras_iwm.layers import TransformerBlock
from keras_iwm.models import ImageWorldModel, MaskedAutoencoder

if keras.backend.backend() != "torch":
    pytest.skip("other backends compile the whole step", allow_module_level=True)

import torch

from keras_iwm.backend import torch_compiled

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), "uint8")
LABELS = np.arange(20) % 3


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    """Have each test compile for itself."""
    caches = torch_compiled.compiled_for, torch_compiled.compiler_works
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def compilations(monkeypatch):
    """The kinds that were compiled, by what traces as the compiler does but is quick."""
    made = []

    def compile_quickly(function, **arguments):
        made.append(function.__name__)
        return compile(function, **{**arguments, "backend": "aot_eager"})

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_quickly)
    return made


def small_encoder(**arguments):
    """An encoder of two blocks on images of 16 pixels."""
    return ViTEncoder(16, 4, 16, num_layers=2, num_heads=2, **arguments)


def world_model(**arguments):
    """A world model of two blocks and two."""
    return ImageWorldModel.from_encoder(small_encoder(**arguments), seed=0)


def classifier(**arguments):
    """A classifier that finetunes what a world model has learned."""
    backbone = WorldModelBackbone.from_world_model(world_model(**arguments), "full")
    return ImageClassifier(backbone, 3)
