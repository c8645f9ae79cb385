"""What a size of a run is reckoned with."""

import dataclasses

from keras_iwm.arguments import as_count, as_name, as_positive


@dataclasses.dataclass(frozen=True)
class Device:
    """An accelerator, and how it stands in its host.

    Rates are what makers publish, of one direction. Runs reach a part of them.

    Args:
        name: String.
        peak_flops: Positive number, dense products in bfloat16, operations a second.
        memory_bytes: Positive number.
        fast_link: Positive number, bytes a second that a device sends to those that
            share its host, or its pod of TPUs.
        slow_link: Positive number, bytes a second that a device sends to other hosts.
        num_linked: Positive integer, devices that share the fast link.
        num_on_host: Positive integer, devices of one host, which reads files for them.
        cores_per_device: Positive number, of the host's CPU.

    Raises:
        ValueError: If a number is out of its range.

    Example:

    ```python
    h100 = keras_iwm.sizing.DEVICES["h100"]
    workstation = keras_iwm.sizing.Device(
        "two of mine", 165e12, 24e9, 25e9, 1e9, 2, 2, 8
    )
    ```
    """

    name: str
    peak_flops: float
    memory_bytes: float
    fast_link: float
    slow_link: float
    num_linked: int
    num_on_host: int
    cores_per_device: float

    def __post_init__(self) -> None:
        as_name("name", self.name)
        for name in ("num_linked", "num_on_host"):
            as_count(name, getattr(self, name))
        numbers = ("peak_flops", "memory_bytes", "fast_link", "slow_link")
        for name in (*numbers, "cores_per_device"):
            as_positive(name, getattr(self, name))
