"""How long a run takes, how much memory, and what bounds it."""

import math
from typing import Any, Literal

from keras_iwm.arguments import (
    as_boolean,
    as_choice,
    as_count,
    as_number,
    as_object,
    as_positive,
)
from keras_iwm.evaluation.flops_per_image import flops_per_image
from keras_iwm.models.pretraining_model import PretrainingModel
from keras_iwm.sizing import terms
from keras_iwm.sizing.advice import advice
from keras_iwm.sizing.device import Device
from keras_iwm.sizing.devices import DEVICES

# Of the memory; the rest is for kernels, views, and what lies scattered.
USABLE = 0.9


def estimate_run(
    model: PretrainingModel,
    num_images: int,
    epochs: int = 1,
    batch_size: int = 2048,
    device: str | Device = "h100",
    num_devices: int = 8,
    utilisation: float = 0.4,
    overlap: bool = True,
    exchange_dtype: Literal["float32", "bfloat16"] = "float32",
    sharded_state: Literal["nothing", "optimizer", "everything"] = "nothing",
    accumulation_steps: int = 1,
    decode_rate: float = 300.0,
    image_bytes: float = 110e3,
    read_rate: float = 1e9,
    sharded_checkpoints: bool = False,
    write_rate: float = 1e9,
    save_every: float = 600.0,
) -> dict[str, Any]:
    """Reckon what a pretraining run costs, before it is paid for.

    A model of costs in closed form, see `docs/scaling.md`, which says what each term
    is, and how far it was checked. Training is in `mixed_bfloat16`, its state in
    float32. Where it has a choice it is the careful one; what it leaves out are
    latencies, a slow start, and hosts that wait for each other.

    Args:
        model: Pretraining model of any method. Of blocks made with `remat` it reckons
            with what is computed again. Compiled or not.
        num_images: Positive integer, images (or clips) of an epoch.
        epochs: Positive integer.
        batch_size: Positive integer, of all devices together.
        device: Name in `DEVICES`, or a `Device`.
        num_devices: Positive integer, which divides `batch_size`.
        utilisation: Number in (0, 1], share of the device's peak that computing
            reaches.
        overlap: Boolean, whether gradients are exchanged while the backward pass goes
            on.
        exchange_dtype: In which gradients are exchanged.
        sharded_state: What is spread over the devices: `"nothing"`, the
            `"optimizer"`'s moments, or `"everything"`, weights and teacher too.
        accumulation_steps: Positive integer, parts of a device's share of the batch,
            whose gradients are added up before they are exchanged.
        decode_rate: Positive number, images a second that a core reads and decodes.
        image_bytes: Positive number, of a file.
        read_rate: Positive number, bytes a second that a host gets from storage.
        sharded_checkpoints: Boolean, whether all hosts write a checkpoint together.
        write_rate: Positive number, bytes a second that a host writes.
        save_every: Positive number, seconds between two checkpoints.

    Returns:
        Dictionary for JSON: `"hours"`, `"device_hours"`, `"images_per_second"`,
        `"step_seconds"`, `"parts"` (seconds of a step by what takes them, the shares of
        `step_seconds`), `"bound"` (the largest part, or `"memory"`), `"memory_bytes"`
        of a device, of which `"state_bytes"` and `"activation_bytes"`, `"fits"`,
        `"checkpoint_bytes"`, `"checkpoint_seconds"`, and `"advice"`, a list of
        sentences.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    cost = keras_iwm.sizing.estimate_run(model, 1_281_167, epochs=300, num_devices=8)
    print(f"{cost['hours']:.1f} hours, bound by {cost['bound']}")
    ```
    """
    as_object("model", model, ("forward_passes", "probe"), "a pretraining model")
    if not isinstance(device, Device):
        device = DEVICES[as_choice("device", device, tuple(DEVICES))]
    num_images = as_count("num_images", num_images)
    epochs = as_count("epochs", epochs)
    batch_size = as_count("batch_size", batch_size)
    num_devices = as_count("num_devices", num_devices)
    accumulation_steps = as_count("accumulation_steps", accumulation_steps)
    if batch_size % (num_devices * accumulation_steps):
        raise ValueError(
            "`batch_size` must be a multiple of `num_devices` times "
            f"`accumulation_steps`. Received: batch_size={batch_size}, "
            f"num_devices={num_devices}, accumulation_steps={accumulation_steps}."
        )
    utilisation = as_number("utilisation", utilisation, 1e-6, 1.0)
    overlap = as_boolean("overlap", overlap)
    exchange_dtype = as_choice(
        "exchange_dtype", exchange_dtype, ("float32", "bfloat16")
    )
    sharded_state = as_choice(
        "sharded_state", sharded_state, ("nothing", "optimizer", "everything")
    )
    rates = {
        "decode_rate": decode_rate,
        "image_bytes": image_bytes,
        "read_rate": read_rate,
        "write_rate": write_rate,
        "save_every": save_every,
    }
    rates = {name: as_positive(name, value) for name, value in rates.items()}
    sharded_checkpoints = as_boolean("sharded_checkpoints", sharded_checkpoints)

    learned, fixed = terms.count_weights(model)
    hosts = math.ceil(num_devices / device.num_on_host)
    # Computing.
    speed = device.peak_flops * utilisation * num_devices / batch_size
    total = flops_per_image(model, training=True) / speed
    forward = flops_per_image(model) / speed
    # Exchanging.
    gradient_bytes = {"float32": 4, "bfloat16": 2}[exchange_dtype]
    exchanged = terms.exchanges(
        learned, fixed, num_devices, device, sharded_state, gradient_bytes
    )
    exposed = sum(exchanged.values())
    if overlap:
        # Of accumulated gradients, those of the last part leave.
        window = (total - forward) / accumulation_steps
        exposed = terms.exposed_seconds(exchanged, forward, window, learned)
    # Reading, while the step before is computed.
    cores = device.cores_per_device * min(num_devices, device.num_on_host) * hosts
    reading = batch_size * max(
        1 / (cores * rates["decode_rate"]),
        rates["image_bytes"] / (hosts * rates["read_rate"]),
    )
    waiting = max(0.0, reading - total - exposed)
    # Checkpoints.
    saved = terms.checkpoint_bytes(learned, fixed)
    rate = min(rates["write_rate"], terms.FILE)
    if sharded_checkpoints:
        rate = rates["write_rate"] * hosts
    saving = saved / rate
    parts = {"computing": total, "exchanging": exposed, "reading": waiting}
    parts["checkpoints"] = sum(parts.values()) * saving / rates["save_every"]
    step = sum(parts.values())
    # Memory.
    state = terms.state_bytes(
        learned, fixed, num_devices, sharded_state, accumulation_steps > 1
    )
    kept = terms.kept_bytes(model)
    activations = kept * batch_size / num_devices / accumulation_steps
    steps = num_images * epochs / batch_size
    found = {
        "hours": steps * step / 3600,
        "device_hours": steps * step / 3600 * num_devices,
        "images_per_second": batch_size / step,
        "step_seconds": step,
        "parts": parts,
        "exchange_seconds": sum(exchanged.values()),
        "reading_seconds": reading,
        "memory_bytes": state + activations,
        "state_bytes": state,
        "activation_bytes": activations,
        "activation_bytes_per_image": kept,
        "usable_bytes": USABLE * device.memory_bytes,
        "fits": state + activations <= USABLE * device.memory_bytes,
        "checkpoint_bytes": saved,
        "checkpoint_seconds": saving,
        "learned_weights": learned,
        "fixed_weights": fixed,
        "hosts": hosts,
        "images_per_device": batch_size // (num_devices * accumulation_steps),
    }
    found["bound"] = max(parts, key=parts.get) if found["fits"] else "memory"
    choices = {
        "overlap": overlap,
        "exchange_dtype": exchange_dtype,
        "sharded_state": sharded_state,
        "sharded_checkpoints": sharded_checkpoints,
        "num_devices": num_devices,
        "num_linked": device.num_linked,
    }
    return {**found, "advice": advice(found, choices)}
