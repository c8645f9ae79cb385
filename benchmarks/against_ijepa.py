"""Our training step against the official I-JEPA implementation doing the same work.

    git clone https://github.com/facebookresearch/ijepa /somewhere/ijepa
    python benchmarks/against_ijepa.py --reference /somewhere/ijepa
    python benchmarks/against_ijepa.py --reference /somewhere/ijepa --setting small_224

    # What a change brought: an older checkout of this project takes turns too.
    python benchmarks/against_ijepa.py --reference /somewhere/ijepa --before /an/older

    # On a GPU: the largest batch that fits, memory, kernels, utilisation.
    python benchmarks/against_ijepa.py --reference /somewhere/ijepa --setting base_224 \
        --batch-size 128 --precision mixed_bfloat16 --compiled --kernels

The reference's networks are imported from the checkout; the step around them (forward
of student, predictor and teacher, loss, backward, AdamW, moving average) is written
here, without its logging and its loader. Ours is `ImageWorldModel` under `fit`, with
views that are given. Both have the same encoder, predictor, batch, context and target
patches, precision and optimizer. All run in processes that take turns, one block of
steps at a time; medians over the blocks and ratios are printed. `utilisation` is the
share of what a GPU is sold for, or of the quickest large product of a CPU in this run.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import tqdm
import turns

# Image and patch size; encoder and predictor (layers, width, heads); batch; context and
# target patches.
SETTINGS = {
    "tiny_96": (96, 16, (12, 192, 3), (6, 96, 3), 32, 16, 16),
    "small_224": (224, 16, (12, 384, 6), (12, 192, 6), 8, 83, 76),
    "base_224": (224, 16, (12, 768, 12), (18, 384, 12), 128, 83, 76),
}
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bfloat16


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", required=True, help="checkout of I-JEPA")
    parser.add_argument("--setting", choices=SETTINGS, default="tiny_96")
    parser.add_argument("--batch-size", type=int, help="by default the setting's")
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16"), default="float32"
    )
    parser.add_argument("--blocks", type=int, default=7, help="turns of each")
    parser.add_argument("--steps", type=int, default=8, help="steps in a block")
    parser.add_argument(
        "--compiled", action="store_true", help="torch.compile too, for both"
    )
    parser.add_argument(
        "--kernels", action="store_true", help="name the attention kernels that ran"
    )
    parser.add_argument(
        "--backends", nargs="*", choices=turns.BACKENDS, default=turns.BACKENDS
    )
    parser.add_argument(
        "--before", help="another checkout of this project, to take turns with"
    )
    parser.add_argument(
        "--virtual-devices",
        type=int,
        help="JAX also with its batch split over that many virtual CPU devices",
    )
    parser.add_argument("--output", help="path of the JSON file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.batch_size = arguments.batch_size or SETTINGS[arguments.setting][4]
    return arguments


def make_views(arguments, count):
    """Images and disjoint patch ids for `count` images."""
    size, patch_size, *_, num_context, num_targets = SETTINGS[arguments.setting]
    rng = np.random.default_rng(0)
    images = rng.random((count, size, size, 3), dtype="float32") * 255
    ids = rng.random((count, (size // patch_size) ** 2)).argsort(axis=1).astype("int32")
    return (
        images,
        ids[:, :num_context].copy(),
        ids[:, num_context : num_context + num_targets].copy(),
    )


def work_with_reference(arguments, compiled):
    """Train the reference's networks whenever asked."""
    sys.path.insert(0, str(pathlib.Path(arguments.reference).resolve()))
    import functools

    import torch
    from src.models import vision_transformer

    size, patch_size, encoder_size, predictor_size, *_ = SETTINGS[arguments.setting]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    make_encoder = functools.partial(
        vision_transformer.VisionTransformer,
        img_size=[size],
        patch_size=patch_size,
        depth=encoder_size[0],
        embed_dim=encoder_size[1],
        num_heads=encoder_size[2],
        qkv_bias=True,
        norm_layer=norm,
    )
    student, teacher = make_encoder().to(device), make_encoder().to(device)
    predictor = vision_transformer.VisionTransformerPredictor(
        num_patches=(size // patch_size) ** 2,
        embed_dim=encoder_size[1],
        depth=predictor_size[0],
        predictor_embed_dim=predictor_size[1],
        num_heads=predictor_size[2],
        qkv_bias=True,
        norm_layer=norm,
    ).to(device)
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    learned = [
        weight
        for weight in (*student.parameters(), *predictor.parameters())
        if weight.requires_grad
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for weight in learned if weight.ndim > 1]},
            {"params": [w for w in learned if w.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-3,
        weight_decay=0.04,
    )
    averaged = [
        pair
        for pair in zip(teacher.parameters(), student.parameters(), strict=True)
        if pair[1].requires_grad
    ]
    networks = (student, teacher, predictor)
    if compiled:
        networks = tuple(torch.compile(network) for network in networks)
    see, teach, predict = networks

    count = arguments.batch_size * arguments.steps
    images, context_ids, target_ids = make_views(arguments, count)
    images = (images.transpose(0, 3, 1, 2) / 255 - 0.45) / 0.225
    split = (
        [torch.tensor(part) for part in np.split(array, arguments.steps)]
        for array in (
            np.ascontiguousarray(images),
            context_ids.astype("int64"),
            target_ids.astype("int64"),
        )
    )
    batches = list(zip(*split, strict=True))

    def step(images, context_ids, target_ids):
        images, context_ids, target_ids = (
            part.to(device) for part in (images, context_ids, target_ids)
        )
        with torch.autocast(
            device.type,
            torch.bfloat16,
            enabled=arguments.precision == "mixed_bfloat16",
        ):
            with torch.no_grad():
                latents = teach(images)
                latents = torch.nn.functional.layer_norm(latents, latents.shape[-1:])
                index = target_ids[..., None].expand(-1, -1, latents.shape[-1])
                wanted = latents.gather(1, index)
            prediction = predict(
                see(images, [context_ids]), [context_ids], [target_ids]
            )
        loss = torch.nn.functional.mse_loss(prediction.float(), wanted.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for target, weight in averaged:
                target.lerp_(weight, 0.004)
        return loss

    def run_block():
        start = time.perf_counter()
        for batch in batches:
            loss = step(*batch)
        float(loss)  # wait for the device
        return time.perf_counter() - start

    start = time.perf_counter()
    float(step(*batches[0]))
    first = time.perf_counter() - start
    run_block()
    facts = {"first_step_seconds": first, "device": device_name()}
    if arguments.kernels:
        facts["kernels"] = torch_kernels(run_block)
    turns.serve(facts, run_block, lambda: last_facts("torch"))


def work_with_keras(arguments, compiled):
    """Train our model whenever asked."""
    import keras

    import keras_iwm
    from keras_iwm.views import MultiBlockMask, ViewGenerator

    size, patch_size, encoder_size, predictor_size, *_ = SETTINGS[arguments.setting]
    num_context, num_targets = SETTINGS[arguments.setting][5:]
    backend = keras.backend.backend()
    keras.config.set_dtype_policy(arguments.precision)
    if backend == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    encoder = keras_iwm.backbones.ViTEncoder(
        size,
        patch_size,
        num_layers=encoder_size[0],
        hidden_dim=encoder_size[1],
        num_heads=encoder_size[2],
        name="encoder",
    )
    predictor = keras_iwm.backbones.WorldModelPredictor(
        encoder.grid_size,
        encoder.hidden_dim,
        num_layers=predictor_size[0],
        predictor_dim=predictor_size[1],
        num_heads=predictor_size[2],
        conditioning="none",
        name="predictor",
    )
    views = ViewGenerator(
        size,
        MultiBlockMask(
            encoder.grid_size, num_context=num_context, num_targets=num_targets
        ),
        actions=(),
    )
    model = keras_iwm.models.ImageWorldModel(encoder, predictor, views)
    # XLA on TensorFlow too: its default leaves it off on machines without a GPU.
    compiled = compiled or backend == "tensorflow"
    model.compile(
        keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04),
        jit_compile=True if compiled else "auto",
    )
    batch_size = arguments.batch_size
    images, context_ids, target_ids = make_views(
        arguments, batch_size * arguments.steps
    )
    data = {
        "source": images,
        "target": images,
        "action": np.zeros((len(images), 0), "float32"),
        "context_ids": context_ids,
        "target_ids": target_ids,
    }

    clock = turns.epoch_clock()

    def fit(count):
        part = {key: value[:count] for key, value in data.items()}
        model.fit(
            part, batch_size=batch_size, verbose=0, shuffle=False, callbacks=[clock]
        )
        return clock.seconds

    start = time.perf_counter()
    fit(batch_size)
    first = time.perf_counter() - start
    fit(len(images))
    facts = {
        "first_step_seconds": first,
        "device": device_name(),
        "flops_per_image": keras_iwm.evaluation.flops_per_image(model, training=True),
    }
    if arguments.kernels and backend == "torch":
        facts["kernels"] = torch_kernels(lambda: fit(batch_size))
    turns.serve(facts, lambda: fit(len(images)), lambda: last_facts(backend))


def device_name():
    """Name the GPU, or say CPU."""
    try:
        names = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "CPU"
    return names.splitlines()[0]


def last_facts(backend):
    """What a process tells when all turns are over."""
    facts = {"peak_bytes": peak_bytes(backend)}
    if device_name() == "CPU":
        facts["product_flops"] = product_flops()
    return facts


def product_flops():
    """Operations a second of a large product of matrices."""
    from keras import ops

    left, right = ops.ones((4096, 1024)), ops.ones((1024, 4096))
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        float(ops.matmul(left, right)[0, 0])  # wait for the device
        seconds.append(time.perf_counter() - start)
    return 2 * 4096 * 4096 * 1024 / min(seconds)


def peak_bytes(backend):
    """Most memory of the device that a backend held at once; 0 on a CPU."""
    if backend == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    if backend == "tensorflow":
        import tensorflow

        if not tensorflow.config.list_physical_devices("GPU"):
            return 0
        return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def torch_kernels(run):
    """Names of the attention kernels that run on Torch."""
    import torch

    with torch.profiler.profile() as profile:
        run()
    names = (event.key for event in profile.key_averages())
    return sorted(
        {name for name in names if re.search("attention|fmha|flash", name, re.I)}
    )


def xla_kernels(folder):
    """Names of the attention kernels in what XLA compiled."""
    found = set()
    for path in pathlib.Path(folder).glob("*after_optimizations.txt"):
        found.update(
            re.findall(r'custom_call_target="([^"]*fmha[^"]*)"', path.read_text())
        )
    return sorted(found)


def main():
    """Start the workers, let them take turns, and compare."""
    arguments = parse_arguments()
    if arguments.worker:
        compiled = arguments.worker.endswith("compiled")
        if arguments.worker.startswith("keras"):
            work_with_keras(arguments, compiled)
        else:
            work_with_reference(arguments, compiled)
        return
    plan = {"reference": ("reference", "torch", {})}
    if arguments.compiled:
        plan["reference compiled"] = ("reference compiled", "torch", {})
    for backend in turns.installed(arguments.backends):
        plan[backend] = ("keras", backend, {})
        if arguments.compiled and backend == "torch":
            plan["torch compiled"] = ("keras compiled", "torch", {})
        if arguments.before:
            older = {"PYTHONPATH": arguments.before}
            plan[f"{backend}, before"] = ("keras", backend, older)
        if arguments.virtual_devices and backend == "jax":
            count = arguments.virtual_devices
            flag = f"--xla_force_host_platform_device_count={count}"
            plan[f"jax, {count} devices"] = ("keras", backend, {"XLA_FLAGS": flag})
    workers = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, backend, environment) in tqdm.tqdm(plan.items(), "Compiling"):
            dump = f"{folder}/{len(workers)}"
            traced = arguments.kernels and kind == "keras" and backend != "torch"
            if traced:
                flags = f"{environment.get('XLA_FLAGS', '')} --xla_dump_to={dump}"
                environment = {**environment, "XLA_FLAGS": flags}
            workers[name] = turns.Worker(
                __file__, [*sys.argv[1:], "--worker", kind], backend, environment
            )
            if traced:
                workers[name].facts["kernels"] = xla_kernels(dump)
    turns.take_turns(workers.values(), arguments.blocks)
    report(arguments, workers)


def report(arguments, workers):
    """Print the table and write it down."""
    work = arguments.steps * arguments.batch_size
    results = {
        name: {**worker.facts, **worker.close(), **turns.rates_of(worker, work)}
        for name, worker in workers.items()
    }
    device = results["reference"]["device"]
    peak_flops = next(
        (peak for name, peak in PEAK_FLOPS.items() if name in device),
        max(row.get("product_flops", 0) for row in results.values()),
    )
    print(
        f"{arguments.setting}, batch {arguments.batch_size}, {arguments.precision}, "
        f"{device}, {peak_flops / 1e9:,.0f} GFLOP/s at most"
    )
    print(f"{'':20s} images/s   lowest  highest    ratio  first step  GiB  utilisation")
    flops = next(
        (
            row["flops_per_image"]
            for row in results.values()
            if "flops_per_image" in row
        ),
        None,
    )
    for name, row in results.items():
        row["ratio"] = statistics.median(
            mine / reference
            for mine, reference in zip(
                workers["reference"].blocks, workers[name].blocks, strict=True
            )
        )
        if peak_flops and flops:
            row["utilisation"] = row["median"] * flops / peak_flops
        print(
            f"{name:20s} {row['median']:8.1f} {row['lowest']:8.1f} "
            f"{row['highest']:8.1f} {row['ratio']:8.2f} "
            f"{row['first_step_seconds']:9.1f} s {row['peak_bytes'] / 2**30:4.1f}"
            + (f"  {row['utilisation']:.1%}" if "utilisation" in row else "")
        )
        for kernel in row.get("kernels", ()):
            print(f"{'':20s} {kernel}")
    turns.write(arguments.output, {"arguments": vars(arguments), "results": results})


if __name__ == "__main__":
    main()
