"""Images per second from a folder of JPEGs, beside other libraries' I-JEPA.

    pip install lightly stable-pretraining
    python benchmarks/against_libraries.py --preset ijepa_tiny_96 --batch-size 32

Every library trains as its users would: with its own loader, crops, masks and loop, on
the same folder, with an encoder and a predictor of the preset's depth, width and heads,
AdamW and a moving average.

- Ours: `ImageFolder` and `fit`, on each backend, as `keras-iwm pretrain` does.
- lightly: its data set, transform, mask collator and modules, in a plain loop.
- stable-pretraining: its `IJEPA` under Lightning, with its callback for the teacher.

Masks are the paper's. What they come to differs with how a library cuts them to one
length; the mean number of context and target patches of an image is printed, all of its
blocks together.
lightly's collator draws until a block has more than `min_keep` patches, 4 unless told.
On 6 x 6 patches three in ten of its blocks are of 2 x 2, and it would draw for ever: it
is told 3.

The processes take turns, an epoch at a time; medians over the epochs are shown.
Libraries that are not installed are left out.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import types

import input_pipeline
import turns

PEERS = {"lightly": "lightly", "stable-pretraining": "stable_pretraining"}
TARGETS = {"scale": (0.15, 0.2), "aspect_ratio": (0.75, 1.5), "count": 4}
CONTEXT_SCALE = (0.85, 1.0)
CROP_SCALE = (0.3, 1.0)


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", default="ijepa_tiny_96")
    add("--batch-size", type=int, default=32)
    add("--images", type=int, default=512, help="files in the folder")
    add("--photo-size", type=int, nargs=2, default=(500, 375), help="pixels")
    add("--workers", type=int, default=2, help="of each loader")
    add("--blocks", type=int, default=5, help="epochs of each")
    add("--backends", nargs="*", choices=turns.BACKENDS, default=turns.BACKENDS)
    add("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    add("--output", help="path of the JSON file")
    add("--folder", help=argparse.SUPPRESS)
    add("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def work_with_ours(arguments):
    """Train our model whenever asked."""
    import keras

    import keras_iwm

    method = keras_iwm.models.method_of(arguments.preset)
    model = method.from_preset(arguments.preset, load_weights=False, seed=0)
    jit_compile = True if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(
        keras_iwm.optimizers.AdamW(1e-4, weight_decay=0.04), jit_compile=jit_compile
    )
    images = keras_iwm.datasets.ImageFolder(
        arguments.folder,
        model.encoder.image_size,
        batch_size=arguments.batch_size,
        num_threads=arguments.workers,
    )
    clock = turns.epoch_clock()

    def run_epoch():
        model.fit(images, verbose=0, callbacks=[clock])
        return clock.seconds

    run_epoch()
    mask = model.view_generator.mask
    targets = mask.num_targets * mask.num_passes
    facts = {"context": mask.num_context, "targets": targets}
    turns.serve({**facts, "images": len(images) * arguments.batch_size}, run_epoch)


def sizes_of(preset):
    """Image and patch size, and encoder and predictor as (layers, width, heads)."""
    from keras_iwm.backbones import PRESETS

    size = PRESETS[preset]
    encoder, predictor = size["encoder"], size["predictor"]
    return (
        size["image_size"],
        size["patch_size"],
        (encoder["num_layers"], encoder["hidden_dim"], encoder["num_heads"]),
        (predictor["num_layers"], predictor["predictor_dim"], predictor["num_heads"]),
    )


def work_with_lightly(arguments):
    """Train lightly's modules whenever asked."""
    import copy

    import torch
    from lightly.data import LightlyDataset
    from lightly.data.ijepa_collate import IJEPAMaskCollator
    from lightly.models import utils
    from lightly.models.modules.ijepa import IJEPABackbone
    from lightly.models.modules.ijepa_timm import IJEPAPredictorTIMM
    from lightly.transforms.ijepa_transform import IJEPATransform

    image_size, patch_size, encoder, predictor = sizes_of(arguments.preset)
    student = IJEPABackbone(
        image_size, patch_size, *(encoder[0], encoder[2], encoder[1], 4 * encoder[1])
    )
    student.heads = torch.nn.Identity()
    teacher = copy.deepcopy(student).requires_grad_(False)
    predict = IJEPAPredictorTIMM(
        (image_size // patch_size) ** 2,
        depth=predictor[0],
        mlp_dim=encoder[1],
        predictor_embed_dim=predictor[1],
        num_heads=predictor[2],
    )
    collate = IJEPAMaskCollator(
        (image_size, image_size),
        patch_size,
        enc_mask_scale=CONTEXT_SCALE,
        pred_mask_scale=TARGETS["scale"],
        aspect_ratio=TARGETS["aspect_ratio"],
        npred=TARGETS["count"],
        min_keep=3,
    )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(
            arguments.folder,
            transform=IJEPATransform(image_size, min_scale=CROP_SCALE[0]),
        ),
        collate_fn=collate,
        batch_size=arguments.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )
    optimizer = torch.optim.AdamW(
        [*student.parameters(), *predict.parameters()], lr=1e-4, weight_decay=0.04
    )
    smooth_l1 = torch.nn.SmoothL1Loss()
    counts = []

    def run_epoch():
        start = time.perf_counter()
        for (images, _, _), context_ids, target_ids in loader:
            counts.append(
                (context_ids[0].shape[1], sum(m.shape[1] for m in target_ids))
            )
            utils.update_momentum(student, teacher, 0.996)
            with torch.no_grad():
                latents = teacher.encode(images)
                latents = torch.nn.functional.layer_norm(latents, latents.shape[-1:])
                wanted = utils.apply_masks(latents, target_ids)
            seen = student.encode(images, context_ids)
            loss = smooth_l1(predict(seen, context_ids, target_ids), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - start

    run_epoch()
    context, targets = (statistics.mean(count) for count in zip(*counts, strict=True))
    facts = {"context": context, "targets": targets}
    turns.serve({**facts, "images": len(loader) * arguments.batch_size}, run_epoch)


def work_with_stable_pretraining(arguments):
    """Train stable-pretraining's model whenever asked."""
    import lightning
    import stable_pretraining
    import timm
    import torch
    import torchvision
    from stable_pretraining.data import FromTorchDataset, transforms
    from stable_pretraining.methods.ijepa import IJEPA

    image_size, patch_size, encoder, predictor = sizes_of(arguments.preset)
    network = timm.models.vision_transformer.VisionTransformer(
        image_size,
        patch_size,
        num_classes=0,
        depth=encoder[0],
        embed_dim=encoder[1],
        num_heads=encoder[2],
    )
    module = IJEPA(
        network,
        predictor_embed_dim=predictor[1],
        predictor_depth=predictor[0],
        num_targets=TARGETS["count"],
        target_scale=TARGETS["scale"],
        target_aspect_ratio=TARGETS["aspect_ratio"],
        context_scale=CONTEXT_SCALE,
    )
    counts = []

    def forward(self, batch, stage):
        output = IJEPA.forward(self, batch["image"])
        counts.append((output.num_context, output.num_targets))
        return {"loss": output.loss}

    module.forward = types.MethodType(forward, module)
    module.optim = {
        "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 0.04},
        "scheduler": {"type": "LinearWarmupCosineAnnealing"},
        "interval": "epoch",
    }
    files = torchvision.datasets.ImageFolder(os.path.dirname(arguments.folder))
    crops = transforms.Compose(
        transforms.RGB(),
        transforms.RandomResizedCrop((image_size, image_size), scale=CROP_SCALE),
        transforms.ToImage(**stable_pretraining.data.static.ImageNet),
    )
    loader = torch.utils.data.DataLoader(
        FromTorchDataset(files, names=["image", "label"], transform=crops),
        batch_size=arguments.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )

    class Turns(lightning.Callback):
        """An epoch for each turn that is asked for."""

        def on_train_epoch_start(self, trainer, module):
            """Wait for a turn, and start the clock."""
            if trainer.current_epoch == 1:
                context, targets = (
                    statistics.mean(map(float, count))
                    for count in zip(*counts, strict=True)
                )
                images = len(loader) * arguments.batch_size
                turns.tell({"context": context, "targets": targets, "images": images})
            if trainer.current_epoch and not sys.stdin.readline():
                turns.tell({})
                os._exit(0)
            self.start = time.perf_counter()

        def on_train_epoch_end(self, trainer, module):
            """Tell how long it took."""
            if trainer.current_epoch:
                turns.tell({"seconds": time.perf_counter() - self.start})

    trainer = lightning.Trainer(
        max_epochs=arguments.blocks + 2,
        num_sanity_val_steps=0,
        callbacks=[
            stable_pretraining.callbacks.TeacherStudentCallback(
                update_frequency=1, update_after_backward=True
            ),
            Turns(),
        ],
        logger=False,
        enable_checkpointing=False,
        accelerator="auto",
        devices=1,
        enable_progress_bar=False,
    )
    trainer.fit(module, train_dataloaders=loader)


def main():
    """Start the workers, let them take turns, and compare."""
    arguments = parse_arguments()
    if arguments.worker:
        work = {
            "ours": work_with_ours,
            "lightly": work_with_lightly,
            "stable-pretraining": work_with_stable_pretraining,
        }
        work[arguments.worker](arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.join(folder, "photos")  # a class, for loaders that want one
        input_pipeline.make_folder(folder, arguments.images, arguments)
        options = [*sys.argv[1:], "--folder", folder, "--worker"]
        workers = {
            f"ours, {backend}": turns.Worker(__file__, [*options, "ours"], backend)
            for backend in turns.installed(arguments.backends)
        }
        for name in arguments.peers:
            if importlib.util.find_spec(PEERS[name]) is None:
                print(f"{name} is not installed: left out")
                continue
            workers[name] = turns.Worker(__file__, [*options, name])
        turns.take_turns(workers.values(), arguments.blocks)
        report(arguments, workers)


def report(arguments, workers):
    """Print the table, and write it as JSON."""
    rows = {
        name: {**worker.facts, **turns.rates_of(worker, worker.facts["images"])}
        for name, worker in workers.items()
    }
    width = max(map(len, rows))
    print(f"{arguments.preset}, batch {arguments.batch_size}, JPEGs to weights")
    print(f"{'':{width}}  images/s   lowest  highest  context  targets")
    for name, row in rows.items():
        rates = row["median"], row["lowest"], row["highest"]
        print(
            f"{name:{width}}  {rates[0]:8.1f} {rates[1]:8.1f} {rates[2]:8.1f}"
            f" {row['context']:8.1f} {row['targets']:8.1f}"
        )
    for worker in workers.values():
        worker.close()
    turns.write(arguments.output, {"arguments": vars(arguments), "results": rows})


if __name__ == "__main__":
    main()
