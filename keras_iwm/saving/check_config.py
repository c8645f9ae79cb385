"""What a model's config may ask for."""

import keras

# Layers that run code from the file, or from wherever the config says.
WITH_CODE = (
    "__lambda__",
    "Lambda",
    "FlaxLayer",
    "JaxLayer",
    "TFSMLayer",
    "TorchModuleWrapper",
)
# Plain values that Keras writes in a dictionary of this kind.
VALUES = (
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
)
# Where Keras has parts of models. Other rooms read files, or the network.
ROOMS = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "random",
    "regularizers",
    "src",
)
# Arguments that are a width: of each there is a weight at least so long.
WIDTHS = (
    "action_dim",
    "filters",
    "hidden_dim",
    "input_dim",
    "mlp_dim",
    "num_classes",
    "num_layers",
    "num_prefix_tokens",
    "output_dim",
    "predictor_dim",
    "units",
)
MOST_POSITIONS = 2**24  # of a grid; an image of 224 pixels has some hundreds


def check_config(config, num_values):
    """Refuse a config that asks for code, or for more weights than there are.

    Args:
        config: What the JSON of a model says.
        num_values: Integer, how many numbers the file of weights holds.

    Raises:
        ValueError: If the config is refused.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("its config.json describes no model.")
    rest = [config]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            rest.extend(item.values())
            if "class_name" in item:
                _check_class(item)
            _check_sizes(item, num_values)


def _check_class(item):
    """Refuse a class or function that Keras would have to look for elsewhere."""
    name, module = item["class_name"], item.get("module")
    if name in WITH_CODE:
        raise ValueError(f"it holds code, in a {name}, which is never run from a file.")
    if name in VALUES:
        return
    registered = (
        item.get("config") if name == "function" else item.get("registered_name", name)
    )
    if isinstance(registered, str) and keras.saving.get_registered_object(registered):
        return
    rooms = str(module).split(".")
    is_keras = rooms[0] == "keras" and (len(rooms) == 1 or rooms[1] in ROOMS)
    if not is_keras and not (name == "function" and module == "builtins"):
        raise ValueError(
            f"it asks for {registered or name} of {module}, which is neither Keras's "
            "for models nor registered here. If you know it, import the module that "
            "registers it first."
        )


def _check_sizes(item, num_values):
    """Refuse sizes that the stored weights do not bear out."""
    sizes = {name: item[name] for name in WIDTHS if _is_number(item.get(name))}
    needed = max([0, *sizes.values()])
    width = sizes.get("predictor_dim", sizes.get("hidden_dim", 0))
    # A block's attention has four times its width squared, of 4 bits half of that.
    needed = max(needed, 2 * sizes.get("num_layers", 0) * width**2)
    if needed > num_values:
        raise ValueError(
            f"its config declares {sizes}, which takes at least {needed} weights. It "
            f"holds {num_values} numbers."
        )
    for name in ("image_size", "grid_size"):
        size, patch = item.get(name), item.get("patch_size", 1)
        sides = size if isinstance(size, list) else [size, size]
        if len(sides) != 2 or not all(_is_number(side) for side in [*sides, patch]):
            continue  # for the constructor to refuse
        positions = sides[0] * sides[1] / max(patch, 1) ** 2
        if positions > MOST_POSITIONS:
            raise ValueError(
                f"its config declares {name} {size}, a grid of {positions:.0f} "
                f"positions. Models have at most {MOST_POSITIONS}."
            )
        is_table = str(item.get("positions")).startswith("learned")
        if is_table and positions * sizes.get("hidden_dim", 0) > num_values:
            raise ValueError(
                f"its config declares {name} {size} and a table of {positions:.0f} "
                f"positions. It holds {num_values} numbers."
            )


def _is_number(value):
    """Whether JSON gave a number."""
    return isinstance(value, (int, float))
