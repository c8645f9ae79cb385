"""Which files each backend can make of a model, and what it wants to be told."""

import importlib.util

import keras

# How the name of a file ends.
SUFFIXES = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "torch": ".pt2",
}
# The package that Keras makes a file with. Where there is none, a backend cannot.
PACKAGES = {
    "tf_saved_model": {"jax": "tensorflow", "tensorflow": "tensorflow"},
    "onnx": {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "onnx"},
    "openvino": {"tensorflow": "openvino", "torch": "openvino"},
    "litert": {"tensorflow": "tensorflow"},
    "torch": {"torch": "torch"},
}


# Those that hold a model as it computes; others want float32 (docs/export.md).
ANY_PRECISION = ("tf_saved_model", "torch")


def export_arguments(model, format, input_signature):
    """Return what this backend wants to be told, beside the signature.

    Args:
        model: `keras.Model` to export.
        format: String, one of `SUFFIXES`.
        input_signature: List of what a model takes: `keras.InputSpec`, alone or in
            dictionaries, the first axis `None` for any number of images.

    Returns:
        Dictionary of further arguments of `keras.Model.export`.

    Raises:
        ValueError: If this backend cannot make such a file of such a model.
        ImportError: If the package is missing that it is made with.
    """
    name = keras.backend.backend()
    if name not in PACKAGES[format]:
        able = " or ".join(PACKAGES[format])
        here = [other for other, packages in PACKAGES.items() if name in packages]
        raise ValueError(
            f"`format` must be one that can be made on {name}, one of {here}. "
            f"Received: format={format!r}, which {able} can make. Save the model, "
            f"model.save('model.keras'), load it in a process with KERAS_BACKEND="
            f"{next(iter(PACKAGES[format]))}, and export it there."
        )
    check_precision(model, format)
    package = PACKAGES[format][name]
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"Export as {format!r} on {name} needs the package {package}. Install it "
            f"with: pip install {package}"
        )
    is_open = [spec.shape[0] is None for spec in keras.tree.flatten(input_signature)]
    if (name, format) == ("jax", "tf_saved_model") and not all(is_open):
        # See `jax_operations.gelu`.
        raise ValueError(
            "`input_signature` must leave the first axis open for a SavedModel from "
            f"JAX. Received: {input_signature}. Write None for the number of images."
        )
    if format == "torch" and any(is_open):
        # Keras traces a single image unless it is told that the number is open.
        import torch

        batch = torch.export.Dim("batch")
        shapes = keras.tree.map_structure(
            lambda spec: {0: batch} if spec.shape[0] is None else {}, input_signature
        )
        return {"dynamic_shapes": [tuple(shapes)]}
    return {}


def check_precision(model, format):
    """Refuse formats that hold a quantised or half precision model wrongly, or not."""
    layers = model._flatten_layers()
    formats = ANY_PRECISION
    if any(layer.quantization_mode is not None for layer in layers):
        kind = "that is quantised"
        if keras.backend.backend() != "torch":
            formats = (*formats, "onnx")
    elif any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers):
        kind = "of half precision"
    else:
        return
    if format not in formats:
        raise ValueError(
            f"`format` must be one of {formats} for a model {kind}, on "
            f"{keras.backend.backend()}. Received: format={format!r}. Make the model "
            "in float32, give it the weights with set_weights, and export that; tools "
            "of the format make it smaller."
        )
