"""A program that computes with the weights of any model of one structure."""

import collections
import json

import keras
from keras import ops

from keras_iwm.backend import CompiledParts, KeptState, compile_apart
from keras_iwm.layers.composed_model import ComposedModel

# What was compiled, without the models it was compiled for, the last used one last.
PROGRAMS = collections.OrderedDict()
MOST_PROGRAMS = 32
# What a config says that changes nothing of what is computed without training; and
# changes of parts, which go by names: layers are asked for these.
LEFT_OUT = {"seed", "ema_momentum", "compile_config", "part_changes"}
LOW_RANK = ("lora_rank", "lora_alpha")
PACKAGES = ("keras", "keras_iwm")


class SharedProgram(KeptState, CompiledParts, keras.Model):
    """A Keras model that computes with the weights of another one, and owns none.

    What `predict_on_batch` compiles takes the weights as arguments. It is kept, the
    model is not, and serves every other model of the same structure and shapes.

    Args:
        model: The model whose parts the subclass uses.
        *facts: Hashable values, what else decides how `call` computes.
    """

    def __init__(self, model, *facts):
        super().__init__(dtype="float32", autocast=False)
        self.structure = (type(self), structure_of(model), *facts)

    def predict_on_batch(self, x):
        """Return what `call` makes of a batch, as NumPy arrays."""
        if compile_apart is None:
            return super().predict_on_batch(x)
        with self.kept():
            weights = self.trainable_variables, self.non_trainable_variables
            arguments = keras.tree.map_structure(ops.convert_to_tensor, (*weights, x))
            outputs = self._program_for(arguments)(*arguments)
        return keras.tree.map_structure(ops.convert_to_numpy, outputs)

    def _program_for(self, arguments):
        """What was compiled for such arguments, or is now."""
        shapes = tuple(
            (tuple(tensor.shape), str(tensor.dtype))
            for tensor in keras.tree.flatten(arguments)
        )
        distribution = keras.distribution.distribution()
        # By paths layouts tell how weights lie on devices.
        paths = distribution and tuple(variable.path for variable in self.variables)
        key = (*self.structure, shapes, distribution, paths)
        if key not in PROGRAMS:
            function, jit_compile = self._without_state, self.jit_compile
            PROGRAMS[key] = compile_apart(function, arguments, jit_compile)
            if len(PROGRAMS) > MOST_PROGRAMS:
                PROGRAMS.popitem(last=False)
        PROGRAMS.move_to_end(key)
        return PROGRAMS[key]

    def _without_state(self, trainable, non_trainable, x):
        """What `call` returns, computed with other weights than the model's."""
        return self.stateless_call(trainable, non_trainable, x)[0]


def structure_of(model):
    """Describe how a model computes, whatever its weights.

    Args:
        model: Any model.

    Returns:
        String that models of the same structure share. Of others than Keras's classes
        and ours an object that is equal to itself alone: what they compute may change
        under the same name.
    """
    if not isinstance(model, ComposedModel):
        return object()
    layers = model._flatten_layers()
    modules = {type(layer).__module__ for layer in layers}

    def describe(config):
        if isinstance(config, (list, tuple)):
            return [describe(value) for value in config]
        if not isinstance(config, dict):
            return config
        modules.add(config.get("module", "keras"))
        # A layer's name says nothing; that of a dtype policy is the dtype.
        left_out = LEFT_OUT | {"name"} if "trainable" in config else LEFT_OUT
        return {k: describe(v) for k, v in config.items() if k not in left_out}

    config = describe(keras.saving.serialize_keras_object(model))
    if not all(str(name).split(".")[0] in PACKAGES for name in modules):
        return object()
    changes = [
        (layer.dtype_policy.name, *(getattr(layer, name, None) for name in LOW_RANK))
        for layer in layers
    ]
    return json.dumps([config, changes], sort_keys=True, default=str)
