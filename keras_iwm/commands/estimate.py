"""Say how long a run takes, how much memory, and what bounds it.

    keras-iwm estimate iwm_large_224_equivariant --images 1.28e6 --epochs 300
    keras-iwm estimate ijepa_base_224 --images 1e9 --devices 64 --device h200
    keras-iwm estimate iwm_base_224_equivariant --images 1e6 --device a100 --json

A model of costs, not a measurement: docs/scaling.md says what each term is and which
of them were checked. Devices are known by figures that their makers publish; --peak
and the like take others. How much of the peak is reached is yours to say: a few
hundred steps of `pretrain` tell.
"""

import dataclasses
import json
import sys

from keras_iwm import models
from keras_iwm.commands.program import make_parser
from keras_iwm.sizing.devices import DEVICES
from keras_iwm.sizing.estimate_run import estimate_run

# Options that change a figure of the device.
OF_DEVICE = {
    "peak": "peak_flops",
    "memory": "memory_bytes",
    "fast_link": "fast_link",
    "slow_link": "slow_link",
    "cores": "cores_per_device",
}


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("estimate", __doc__)
    add = parser.add_argument
    add("preset", help="name of a size, such as iwm_base_224_equivariant")
    add("--images", type=float, required=True, help="of an epoch")
    add("--epochs", type=int, default=1)
    add("--batch-size", type=int, default=2048, help="of all devices together")
    add("--device", choices=DEVICES, default="h100")
    add("--devices", type=int, default=8, help="how many")
    add("--utilisation", type=float, default=0.4, help="share of the peak")
    add("--remat", action="store_true", help="compute blocks again to save memory")
    add("--no-overlap", action="store_true", help="exchange behind the backward pass")
    add("--exchange-dtype", choices=("float32", "bfloat16"), default="float32")
    add(
        "--sharded-state",
        choices=("nothing", "optimizer", "everything"),
        default="nothing",
        help="what is spread over the devices",
    )
    add("--accumulation-steps", type=int, default=1)
    add("--decode-rate", type=float, default=300.0, help="images a second, a core")
    add("--image-bytes", type=float, default=110e3, help="of a file")
    add("--read-rate", type=float, default=1e9, help="bytes a second, a host")
    add("--sharded-checkpoints", action="store_true", help="written by all hosts")
    add("--write-rate", type=float, default=1e9, help="bytes a second, a host")
    add("--save-every", type=float, default=600.0, help="seconds")
    add("--peak", type=float, help="operations a second of a device, bfloat16")
    add("--memory", type=float, help="bytes of a device")
    add("--fast-link", type=float, help="bytes a second within a host")
    add("--slow-link", type=float, help="bytes a second between hosts, a device")
    add("--cores", type=float, help="of the host, a device")
    add("--json", action="store_true", help="print everything, as JSON")
    return parser.parse_args(options)


def main(options=None):
    """Estimate and print."""
    arguments = parse_arguments(options)
    given = {name: getattr(arguments, name) for name in OF_DEVICE}
    changes = {OF_DEVICE[name]: v for name, v in given.items() if v is not None}
    try:
        method = models.method_of(arguments.preset)
        model = method.from_preset(
            arguments.preset, load_weights=False, remat=arguments.remat
        )
        found = estimate_run(
            model,
            arguments.images,
            arguments.epochs,
            arguments.batch_size,
            dataclasses.replace(DEVICES[arguments.device], **changes),
            arguments.devices,
            arguments.utilisation,
            not arguments.no_overlap,
            arguments.exchange_dtype,
            arguments.sharded_state,
            arguments.accumulation_steps,
            arguments.decode_rate,
            arguments.image_bytes,
            arguments.read_rate,
            arguments.sharded_checkpoints,
            arguments.write_rate,
            arguments.save_every,
        )
    except ValueError as error:
        sys.exit(str(error))
    if arguments.json:
        print(json.dumps({"preset": arguments.preset, **found}, indent=2))
    else:
        print("\n".join(lines_of(found, arguments)))


def lines_of(found, arguments):
    """What a person reads of an estimate."""
    gib = 2**30
    fits = "fits" if found["fits"] else "DOES NOT FIT"
    step, parts = found["step_seconds"], found["parts"]
    shares = ", ".join(f"{name} {part / step:.0%}" for name, part in parts.items())
    return [
        f"{arguments.preset}: {found['learned_weights'] / 1e6:,.1f} M weights learn, "
        f"{found['fixed_weights'] / 1e6:,.1f} M do not",
        f"{arguments.devices} x {arguments.device}, {found['hosts']} host(s), "
        f"{found['images_per_device']} images at a time on each",
        f"time     {found['hours']:,.2f} hours, {found['device_hours']:,.1f} device "
        f"hours, {found['images_per_second']:,.0f} images/s",
        f"step     {1000 * step:,.1f} ms: {shares}",
        f"memory   {found['memory_bytes'] / gib:,.1f} GiB of "
        f"{found['usable_bytes'] / gib:,.0f} usable ({found['state_bytes'] / gib:,.1f} "
        f"state, {found['activation_bytes'] / gib:,.1f} activations): {fits}",
        f"saving   {found['checkpoint_bytes'] / 1e9:,.2f} GB in "
        f"{found['checkpoint_seconds']:,.1f} s",
        f"bound by {found['bound']}",
        *(f"- {sentence}" for sentence in found["advice"]),
    ]
