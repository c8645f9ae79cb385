"""A world model whose retrievals are known, and an operation of one's own."""

import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import ActionSpace, Transform
from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation import EquivarianceEvaluator, RetrievalBank
from keras_iwm.models import ImageWorldModel

BANK_SIZE = 6


class Gamma(Transform):
    parameters = ("gamma_power",)
    identity = (1.0,)
    scales = (1.5,)

    def draw(self, uniforms):
        return 0.5 + 1.5 * uniforms

    def apply(self, images, parameters):
        return ops.power(images, ops.reshape(parameters, (-1, 1, 1, 1)))


class KnownRetrievals(EquivarianceEvaluator):
    """Retrieves entries 0, 0, 2, 2, 4, ..., with ranks 1, 3.5, 1, 3.5, ..."""

    def retrieve(self, index):
        return self._found({"parameters": self.parameters[index]})

    def sweep(self, index, slot):
        parameters, values = self._slot_values(slot)
        return self._found({"parameters": parameters, "values": values})

    def undo(self, index):
        degraded = self._steps.degrade(self.images[index])
        return {
            name: {**self.retrieve(index), "degraded": degraded[row]}
            for row, name in enumerate(self.operation_names)
        }

    def _found(self, entries):
        order = np.arange(len(entries["parameters"]))
        return {**entries, "nearest": order - order % 2, "ranks": 1 + 2.5 * (order % 2)}


def make_model(actions, num_channels=3, value_range=(0, 255), conditioning="feature"):
    encoder = ViTEncoder(
        (8, 12), 2, 8, 1, 1, value_range=value_range, num_channels=num_channels
    )
    return ImageWorldModel.from_encoder(
        encoder, actions, conditioning, predictor_layers=1, predictor_dim=8, crop=None
    )


def make_images(model, num_images=3):
    shape = (num_images, *model.image_size, model.num_channels)
    low, high = model.value_range
    images = np.random.default_rng(0).uniform(low, high, shape)
    return images.astype("uint16" if high > 1 else "float32")


@pytest.fixture
def gamma():
    return Gamma()


@pytest.fixture
def world_model():
    """Makes a tiny world model."""
    return make_model


@pytest.fixture
def known_retrievals():
    """Makes an evaluator of known retrievals for some actions."""

    def make(shared, destructive=(), **arguments):
        model = make_model(ActionSpace(shared, destructive), **arguments)
        bank = RetrievalBank.for_actions(model.action_space, BANK_SIZE)
        return KnownRetrievals(model, make_images(model), bank, swapped_image=False)

    return make
