"""What to change about a run."""

import math

WORTH = 0.1  # share of a step from which a part is worth a word


def advice(found, choices):
    """Say what would make a run fit, or faster, the largest gain first.

    Args:
        found: Dictionary, what `estimate_run` has found.
        choices: Dictionary of what it was told.

    Returns:
        List of strings.
    """
    words = [] if found["fits"] else [_of_memory(found, choices)]
    shares = {
        name: seconds / found["step_seconds"]
        for name, seconds in found["parts"].items()
    }
    for name in sorted(shares, key=shares.get, reverse=True):
        if name in OF_PARTS and shares[name] >= WORTH:
            words.append(
                f"{shares[name]:.0%} of the time: {OF_PARTS[name](found, choices)}"
            )
    return words


def _of_memory(found, choices):
    """How the model could fit."""
    rest = found["usable_bytes"] - found["state_bytes"]
    if rest < found["activation_bytes_per_image"]:
        gib = found["state_bytes"] / 2**30
        if choices["sharded_state"] != "everything" and choices["num_devices"] > 1:
            return (
                f"Weights, gradients and moments take {gib:.0f} GiB of each device: "
                'spread them, with sharded_state="everything".'
            )
        return (
            f"Weights, gradients and moments take {gib:.0f} GiB of each device: take "
            "larger or more devices, or a smaller preset."
        )
    images = found["images_per_device"]
    parts = math.ceil(images * found["activation_bytes_per_image"] / rest)
    return (
        f"{images} images at a time do not fit a device: accumulate gradients over "
        f"{parts} times as many parts or more, make blocks with remat, or use more "
        "devices."
    )


def _of_exchanging(found, choices):
    """How gradients could be exchanged in less time."""
    ways = []
    if not choices["overlap"]:
        ways.append("exchange gradients behind the backward pass")
    if choices["exchange_dtype"] == "float32":
        ways.append("exchange them in bfloat16")
    if choices["num_devices"] > choices["num_linked"]:
        ways.append("use fewer devices")
    ways.append("use a larger batch")
    return f"gradients are exchanged while devices wait: {', or '.join(ways)}."


def _of_reading(found, choices):
    """How images could come faster."""
    needed = found["reading_seconds"] / (
        found["step_seconds"] - found["parts"]["reading"]
    )
    return (
        f"devices wait for images: they take {needed:.1f} times what {found['hosts']} "
        "host(s) read and decode. Store images no larger than they are used, in "
        "shards, or use more cores."
    )


def _of_checkpoints(found, choices):
    """How saving could cost less."""
    ways = [] if choices["sharded_checkpoints"] else ["save in shards"]
    ways.append("save less often")
    return (
        f"a checkpoint of {found['checkpoint_bytes'] / 1e9:.1f} GB stops training for "
        f"{found['checkpoint_seconds']:.0f} s: {', or '.join(ways)}."
    )


OF_PARTS = {
    "exchanging": _of_exchanging,
    "reading": _of_reading,
    "checkpoints": _of_checkpoints,
}
