"""A model whose parts stay as the user has changed them."""

from typing import Any, Literal, Self

import keras

from keras_iwm.arguments import as_boolean, as_choice, as_path
from keras_iwm.array_arguments import as_signature
from keras_iwm.backend import (
    SUFFIXES,
    CompiledParts,
    KeptState,
    export_arguments,
    traces_any_size,
)
from keras_iwm.saving.preset_folder import load_preset, save_preset
from keras_iwm.type_aliases import Config, Path


class ComposedModel(KeptState, CompiledParts, keras.Model):
    """A Keras model that remembers what was changed on its parts.

    Keras rebuilds a model by its constructor. What was done to the parts afterwards,
    a block frozen, `enable_lora`, `quantize`, is then gone, and with it the optimizer,
    whose state is of other variables. Here the config holds these changes, and
    `from_config` makes them again before the model is compiled.

    Subclasses create and build all parts in the constructor. Arguments that are Keras
    objects, alone or in a dictionary, are rebuilt from their configs.

    Those that take images know their `input_signature`, so that `export` needs no call
    before and makes files for any number of images.
    """

    input_signature = None

    def start_anew_for(self, images: Any, function: str) -> None:
        """Let images of another size be taken as those before were.

        A function that is traced for any size knows no grid of patches.

        Args:
            images: Array or tensor of images or clips. Anything else is passed over.
            function: `"train_function"`, `"test_function"` or `"predict_function"`,
                Keras's name of what will take them.
        """
        if traces_any_size and len(getattr(images, "shape", ())) in (4, 5):
            made, sides = getattr(self, function), tuple(images.shape[1:-1])
            if made is not None and getattr(self, f"_{function}_sides", sides) != sides:
                setattr(self, function, None)
            setattr(self, f"_{function}_sides", sides)

    def export(
        self,
        filepath: Path,
        format: Literal[
            "tf_saved_model", "onnx", "openvino", "litert", "torch"
        ] = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: list[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the forward pass into a file that is served without Keras.

        Files take any number of images, of one size; `docs/export.md` tells how each
        is fed.

        Args:
            filepath: String or path, where to write; it ends in `.onnx`, `.xml`,
                `.tflite` or `.pt2` as the format wants it, or is a folder for a
                SavedModel.
            format: One of `"tf_saved_model"`, `"onnx"`, `"openvino"`, `"litert"` and
                `"torch"`. Not every backend can make each.
            verbose: Optional boolean, whether Keras tells what it does.
            input_signature: Optional list of `keras.InputSpec`, for images of another
                size or dtype. Defaults to the model's `input_signature`: float32
                images of its `image_size`.
            **kwargs: What `keras.Model.export` takes for the format.

        Raises:
            ValueError: If the backend cannot make such a file, the path ends in
                another way, or an axis other than the first is open.
            ImportError: If a package is missing that makes the file.
        """
        format = as_choice("format", format, SUFFIXES)
        filepath = str(as_path("filepath", filepath))
        if not filepath.endswith(SUFFIXES[format]):
            raise ValueError(
                f"`filepath` must end in {SUFFIXES[format]!r} for format {format!r}. "
                f"Received: filepath={filepath!r}."
            )
        if input_signature is None:
            input_signature = self.input_signature
        as_signature("input_signature", input_signature)
        arguments = export_arguments(self, format, input_signature)
        arguments.update(kwargs)
        super().export(filepath, format, verbose, input_signature, **arguments)

    def get_config(self) -> Config:
        """Return the constructor's arguments, and what was changed on the parts."""
        config = super().get_config()
        changes = part_changes(self)
        return {**config, "part_changes": changes} if changes else config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a model from its config, its parts changed as they were."""
        config = dict(config)
        changes = config.pop("part_changes", {})
        for key, value in config.items():
            if isinstance(value, dict):
                config[key] = keras.saving.deserialize_keras_object(value)
        model = cls(**config)
        change_parts(model, changes)
        return model

    @classmethod
    def from_preset(cls, preset: Path, load_weights: bool = True) -> Self:
        """Load a model from a folder that `save_to_preset` has written.

        The folder may come from anyone: nothing in it is run, and weights that are
        damaged, too many, too few or of another shape are refused, all together.

        Args:
            preset: Path of the folder.
            load_weights: Boolean. If `False`, the model is only made as the folder
                says, and starts at random.

        Returns:
            A model of this class.

        Raises:
            ValueError: If the folder is refused, or holds a model of another class.
        """
        model = load_preset(
            as_path("preset", preset), as_boolean("load_weights", load_weights)
        )
        if not isinstance(model, cls):
            raise ValueError(
                f"`preset` must hold a {cls.__name__}. Received: {str(preset)!r}, "
                f"which holds a {type(model).__name__}: call {type(model).__name__}."
                "from_preset."
            )
        return model

    def save_to_preset(
        self,
        folder: Path,
        facts: dict[str, Any] | None = None,
        weights_dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        """Write the model as a folder for `from_preset`, in the layout of KerasHub.

        The folder gets `config.json`, `model.weights.h5` and `metadata.json`, with the
        parameter count, the versions of the libraries and the checksum of the weights.
        The optimizer stays behind; to go on training later, `save` the model.

        Args:
            folder: Path of the folder, which is made. A preset in it is replaced.
            facts: Optional dictionary that JSON can hold, to be added to the metadata:
                what others want to know, such as `"data"`, `"licence"`, `"recipe"` and
                `"results"`. Where the weights began as those that others have published
                under a known licence, it is that one.
            weights_dtype: `"float32"`, or `"float16"` for half the size: numbers are
                rounded to three digits.

        Raises:
            ValueError: If an argument cannot be meant.
        """
        save_preset(self, folder, facts, weights_dtype)


def part_changes(model):
    """Describe what differs on the parts of a model from what its constructor makes.

    Args:
        model: `keras.Model`, built.

    Returns:
        Dictionary from paths of layer names, `"backbone/encoder/block_00"`, to
        dictionaries with any of `"quantization"` (mode and config), `"lora"` (rank and
        alpha), `"trainable"` (a flag other than that of the layer around) and
        `"variables"` (flags other than the layer's, by name). Empty if there is none.
    """
    changes = {}
    for path, (layer, parent) in _parts(model).items():
        change = {}
        if layer.quantization_mode is not None and layer is not model:
            config = getattr(layer, "quantization_config", None)
            config = config and keras.saving.serialize_keras_object(config)
            change["quantization"] = [layer.quantization_mode, config]
        if getattr(layer, "lora_enabled", False):
            change["lora"] = [layer.lora_rank, layer.lora_alpha]
        if layer.trainable != parent.trainable:
            change["trainable"] = layer.trainable
        flags = {
            variable.name: variable.trainable
            for variable in layer._trainable_variables
            if variable.trainable != _learns(variable, layer)
        }
        if flags:
            change["variables"] = flags
        if change:
            changes[path] = change
    return changes


def change_parts(model, changes):
    """Make the changes again that `part_changes` has described.

    Args:
        model: `keras.Model` as its constructor makes it.
        changes: Dictionary as `part_changes` returns it.

    Raises:
        ValueError: If the model has no such part.
    """
    if not changes:
        return
    parts = {path: layer for path, (layer, _) in _parts(model).items()}
    unknown = [path for path in changes if path not in parts]
    if unknown:
        raise ValueError(
            f"`part_changes` must be of parts of {model.name!r}. Received: {unknown}. "
            f"There are: {list(parts)}."
        )
    for path, change in changes.items():
        layer = parts[path]
        if "quantization" in change and layer.quantization_mode is None:
            mode, config = change["quantization"]
            model.quantize(
                mode,
                config=keras.saving.deserialize_keras_object(config),
                filters=lambda other, layer=layer: other is layer,
                type_check=False,
            )
        if "lora" in change and not layer.lora_enabled:
            rank, alpha = change["lora"]
            layer.enable_lora(rank, lora_alpha=alpha)
    # Outer layers come first: what they say holds for their parts, up to other word.
    for path, layer in parts.items():
        change = changes.get(path, {})
        if "trainable" in change:
            layer.trainable = change["trainable"]
    for path, layer in parts.items():
        flags = changes.get(path, {}).get("variables", {})
        for variable in layer._trainable_variables:
            learns = _learns(variable, layer)
            variable.trainable = flags.get(variable.name, learns)


def _parts(model):
    """All layers of a model by path, outer ones first, each with the one around."""
    parts = {"": (model, model)}

    def add(parent, prefix):
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            path = prefix + layer.name
            while path in parts:  # layers of one name
                path += "'"
            parts[path] = (layer, parent)
            add(layer, path + "/")

    add(model, "")
    return parts


def _learns(variable, layer):
    """Whether a variable of a layer learns, unless it was given a flag of its own."""
    replaced = getattr(layer, "lora_enabled", False) and not (
        variable.name.startswith("lora_") or variable.name == "bias"
    )
    return layer.trainable and not replaced
