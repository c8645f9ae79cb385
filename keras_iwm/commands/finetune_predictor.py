"""How good is a pretrained world model, and what is the cheapest way to my task?

    keras-iwm finetune-predictor runs/pretrain/model.keras \\
        --train photos/train --test photos/test

`--train` and `--test` are folders with one folder of images for each class, or `.npz`
files with labels. In turn, and each only if asked for by `--protocols`:

    knn, linear, attentive, low-shot    probes on the frozen features
    encoder                             the encoder finetuned, the predictor dropped
    predictor                           the predictor finetuned on the frozen encoder
    random-predictor                    its control: the same from random weights
    end-to-end                          encoder and predictor finetuned together

Models of methods without a predictor take the first two lines.

A table of accuracy, tuned parameters and seconds is printed; the output folder gets
`summary.json`, the classifiers as `.keras` files, and two pictures. Results are written
one by one, with a checkpoint after every epoch: run the same command again, and it goes
on with what is missing.
"""

import json
import pathlib
import shutil
import sys
import time

import keras
import numpy as np

from keras_iwm import (
    backbones,
    callbacks,
    datasets,
    downstream,
    evaluation,
    saving,
    visualization,
)
from keras_iwm.commands.program import make_parser, progress, save_picture, write_json

PROBES = ("knn", "linear", "attentive", "low-shot")
# Names of this program: protocol of the backbone, and whether the predictor is random.
FINETUNED = {
    "encoder": ("encoder", False),
    "random-predictor": ("predictor", True),
    "predictor": ("predictor", False),
    "end-to-end": ("end_to_end", False),
}


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("finetune-predictor", __doc__)
    add = parser.add_argument
    add("model", help="of any method of pretraining, .keras")
    add("--train", required=True, help="folder of class folders, or .npz file")
    add("--test", required=True, help="the same, held out")
    add("--limit", type=int, help="train on so many images, chosen at random")
    add("--test-limit", type=int, help="test on so many")
    names = (*PROBES, *FINETUNED)
    add("--protocols", nargs="+", choices=names, metavar="NAME")
    add("--epochs", type=int, default=20, help="of finetuning and attentive probe")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add("--layer-decay", type=float, default=0.75)
    add("--predictor-multiplier", type=float, default=0.1, help="if it is pretrained")
    add("--weight-decay", type=float, default=0.05)
    add("--drop-path-rate", type=float, default=0.0)
    add("--label-smoothing", type=float, default=0.1)
    add("--mix-up", type=float, default=0.0, help="alpha of MixUp, such as 0.8")
    add("--cut-mix", type=float, default=0.0, help="alpha of CutMix, such as 1.0")
    add("--rand-augment", type=float, default=0.0, help="strength, such as 0.3")
    add("--seed", type=int, default=0)
    add("--output", default="runs/finetune_predictor")
    return parser.parse_args(options)


def possible_protocols(model):
    """Return the protocols that a model has the parts for."""
    has_predictor = isinstance(
        getattr(model, "predictor", None), backbones.WorldModelPredictor
    )
    return [
        name
        for name in (*PROBES, *FINETUNED)
        if has_predictor or FINETUNED.get(name, ("encoder",))[0] == "encoder"
    ]


def probe(name, model, arguments, train, test):
    """Run one probe on the frozen features."""
    pooled = name != "attentive"
    latents = [
        evaluation.extract_features(model.feature_encoder, images, pooled=pooled)
        for images in (train[0], test[0])
    ]
    arrays = latents[0], train[1], latents[1], test[1]
    if name == "knn":
        return {"accuracy": evaluation.knn_accuracy(*arrays)}
    if name == "low-shot":
        results = {}
        for fraction in (0.01, 0.1):
            found = downstream.low_shot_probe(*arrays, fraction=fraction)
            results[f"accuracy_{100 * fraction:g}_percent"] = found["accuracy"]
            results[f"deviation_{100 * fraction:g}_percent"] = found[
                "standard_deviation"
            ]
        return {"accuracy": results["accuracy_1_percent"], **results}
    if name == "linear":
        found = downstream.linear_probe(*arrays, seed=arguments.seed)
        chosen = {key: found[key] for key in ("learning_rate", "weight_decay")}
    else:
        found = downstream.attentive_probe(
            *arrays,
            num_heads=model.encoder.num_heads,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            verbose=False,
        )
        chosen = {}
    tuned = found["probe"].trainable_weights
    parameters = int(sum(np.prod(weight.shape) for weight in tuned))
    return {"accuracy": found["accuracy"], "tuned_parameters": parameters, **chosen}


def augmentations(arguments, value_range):
    """Return Keras's layers that images pass through while training."""
    layers = [keras.layers.RandomFlip("horizontal", seed=arguments.seed)]
    if arguments.rand_augment:
        layers.append(
            keras.layers.RandAugment(
                value_range, factor=arguments.rand_augment, seed=arguments.seed
            )
        )
    if arguments.mix_up:
        layers.append(keras.layers.MixUp(arguments.mix_up, seed=arguments.seed))
    if arguments.cut_mix:
        layers.append(keras.layers.CutMix(arguments.cut_mix, seed=arguments.seed))
    return layers


def make_classifier(name, model, arguments, num_classes, steps):
    """Make and compile the classifier of one protocol."""
    protocol, is_random = FINETUNED[name]
    keras.utils.set_random_seed(arguments.seed)
    backbone = downstream.WorldModelBackbone.from_world_model(
        model, protocol, is_random, arguments.drop_path_rate
    )
    classifier = downstream.ImageClassifier(backbone, num_classes)
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    classifier.compile(
        downstream.finetuning_recipe(
            classifier,
            steps,
            arguments.batch_size,
            arguments.learning_rate,
            arguments.layer_decay,
            arguments.predictor_multiplier,
            weight_decay=arguments.weight_decay,
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=arguments.label_smoothing
        ),
        **compiled,
    )
    return classifier


def finetune(name, model, arguments, train, test):
    """Finetune in one protocol, and save the classifier."""
    num_classes = int(train[1].max()) + 1
    dataset = datasets.AugmentedImages(
        *train,
        num_classes,
        augmentations(arguments, model.value_range),
        batch_size=arguments.batch_size,
        seed=arguments.seed,
    )
    checkpoints = pathlib.Path(arguments.output, "checkpoints", name)
    steps = arguments.epochs * len(dataset)
    checkpoint = callbacks.RunCheckpoint(checkpoints, every_seconds=600)
    classifier, epoch = checkpoint.resume(
        dataset, lambda: make_classifier(name, model, arguments, num_classes, steps)
    )
    verbose, others = progress()
    classifier.fit(
        dataset,
        initial_epoch=epoch,
        epochs=arguments.epochs,
        callbacks=[*others, checkpoint],
        verbose=verbose,
    )
    logits = classifier.predict(test[0], batch_size=arguments.batch_size, verbose=0)
    classifier.save(pathlib.Path(arguments.output, f"{name}.keras"))
    shutil.rmtree(checkpoints)
    return {
        "accuracy": float(np.mean(logits.argmax(axis=1) == test[1])),
        "tuned_parameters": int(
            sum(np.prod(weight.shape) for weight in classifier.trainable_weights)
        ),
    }


def draw(results, arguments, test):
    """Write the pictures that the results so far allow."""
    output = pathlib.Path(arguments.output)
    caption = f"{arguments.model} on {arguments.test}, seed {arguments.seed}"
    points = {
        name: [(result["tuned_parameters"], result["accuracy"])]
        for name, result in results.items()
        if "tuned_parameters" in result
    }
    if points:
        plot = visualization.plot_tuned_parameters
        save_picture(output / "tuned_parameters.png", plot, points, caption=caption)
    if (output / "predictor.keras").is_file():
        classifier = keras.models.load_model(output / "predictor.keras")
        images = test[0][:8]
        attention = classifier.head_layer.attention(classifier.backbone(images))
        encoder = classifier.backbone.encoder
        save_picture(
            output / "attention.png",
            visualization.plot_attention,
            images,
            keras.ops.convert_to_numpy(attention),
            encoder.grid_size,
            encoder.value_range,
            caption=caption,
        )


def print_table(results):
    """Print one line for each result."""
    print(f"{'protocol':18s} {'accuracy':>8s} {'tuned':>12s} {'seconds':>8s}")
    for name, result in results.items():
        tuned = result.get("tuned_parameters", 0)
        print(
            f"{name:18s} {100 * result['accuracy']:7.1f} % {tuned:12,d} "
            f"{result['seconds']:8.0f}"
        )


def main(options=None):
    """Run what is asked for and not there yet, draw and print."""
    arguments = parse_arguments(options)
    results, test = run_protocols(arguments)
    draw(results, arguments, test)
    print_table(results)


def run_protocols(arguments):
    """Run what is asked for and not there yet; return all results and the test set."""
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(arguments).items() if k != "protocols"}
    summary = output / "summary.json"
    results = {}
    if summary.is_file():
        saved = json.loads(summary.read_text())
        if saved["options"] != settings:
            sys.exit(
                f"{output} holds results of other options: choose another --output"
            )
        results = saved["results"]
    model = saving.load_model(arguments.model)
    if not hasattr(model, "feature_encoder"):
        sys.exit(f"{arguments.model} must be a pretrained model, saved whole")
    protocols = arguments.protocols or possible_protocols(model)
    refused = set(protocols) - set(possible_protocols(model))
    if refused:
        sys.exit(f"{arguments.model} has no predictor for: {', '.join(refused)}")
    seed = arguments.seed
    train = datasets.load_images(
        arguments.train, model.image_size, arguments.limit, seed
    )
    test = datasets.load_images(
        arguments.test, model.image_size, arguments.test_limit, seed
    )
    if train[1] is None or test[1] is None:
        sys.exit("--train and --test need labels: a folder for each class")
    for name in protocols:
        if name in results:
            continue
        print(f"{name} ...", flush=True)
        start = time.perf_counter()
        run = probe if name in PROBES else finetune
        results[name] = run(name, model, arguments, train, test)
        results[name]["seconds"] = time.perf_counter() - start
        write_json(summary, {"options": settings, "results": results})
    return results, test
