"""Values for the weights of a model, all of them or none."""


def assign_values(model, values):
    """Give a model the values of all its weights.

    Args:
        model: Built model.
        values: Dictionary from paths below the model to arrays.

    Raises:
        ValueError: If paths or shapes are others than the model's. Nothing is assigned
            then.
    """
    weights = {w.path.removeprefix(f"{model.name}/"): w for w in model.weights}
    theirs = {path: tuple(value.shape) for path, value in values.items()}
    ours = {path: tuple(weight.shape) for path, weight in weights.items()}
    if theirs != ours:
        others = sorted(theirs.items() ^ ours.items())
        raise ValueError(
            f"`values` must fit the weights of {model.name!r}. Received others: "
            f"{others}."
        )
    for path, weight in weights.items():
        weight.assign(values[path])
