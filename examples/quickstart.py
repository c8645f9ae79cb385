"""Train an image world model on real photos in minutes, and look at what it knows.

    make quickstart                                 # JAX
    make quickstart BACKEND=torch                   # or tensorflow
    make quickstart ARGS="--conditioning none"      # a model that ignores the action
    make quickstart ARGS="--encoder frozen-random"  # a predictor without features

It trains on random crops of the colour photos that scikit-image and scikit-learn
ship, and measures on crops of three photos that it never saw. Results, pictures, the
model, and a preset of it are written to runs/quickstart/. docs/log.md says what every
number means.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import callbacks, datasets, evaluation, visualization

IMAGE_SIZE = 32
CROP_SIZE = 48  # the view generator crops further, to IMAGE_SIZE
BATCH_SIZE = 64
# Learning rate, momentum and model size were compared with other photos held out; the
# length of the run was set after a first look at these.
HELD_OUT = ("astronaut", "flower", "motorcycle")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--conditioning", choices=("feature", "sequence", "none"), default="feature"
    )
    parser.add_argument(
        "--encoder",
        choices=("trained", "frozen-random"),
        default="trained",
        help="frozen-random trains the predictor alone: the control for MRR",
    )
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--num-crops", type=int, default=12_800)
    parser.add_argument("--evaluate-every", type=int, default=2, help="epochs")
    parser.add_argument("--num-evaluation", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="runs/quickstart")
    return parser.parse_args()


class TrainingTime(keras.callbacks.Callback):
    """Sum of the epochs' seconds, compilation included, measurements left out."""

    seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop it; as the first callback, before anything is measured."""
        self.seconds += time.perf_counter() - self._start


def make_data(num_crops, num_evaluation, seed):
    """Cut crops of the photos to train on, and of those held out."""
    photos = datasets.load_sample_photos()
    held_out = {name: photos.pop(name) for name in HELD_OUT}
    train, _ = datasets.random_photo_crops(photos, num_crops, CROP_SIZE, seed=seed)
    # Measured on the same crops whatever the seed of the run.
    retrieval, _ = datasets.random_photo_crops(
        held_out, num_evaluation, IMAGE_SIZE, seed=1
    )
    neighbors = datasets.random_photo_crops(
        held_out, 600, IMAGE_SIZE, seed=2, half="left"
    )
    queries = datasets.random_photo_crops(
        held_out, 600, IMAGE_SIZE, seed=3, half="right"
    )
    return train, retrieval, neighbors, queries


def make_model(arguments, steps):
    """Make and compile the model."""
    recipe = keras_iwm.optimizers.pretraining_recipe(
        steps, BATCH_SIZE, learning_rate=2e-3, ema_momentum=0.98
    )
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32",
        load_weights=False,
        conditioning=arguments.conditioning,
        predictor_layers=2,
        jitter_strength=2.0,
        jitter_probability=1.0,
        ema_momentum=recipe.ema_momentum,
        seed=arguments.seed,
    )
    if arguments.encoder == "frozen-random":
        model.encoder.trainable = False
    # XLA doubles the speed on TensorFlow; the default leaves it off without a GPU.
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    return model


def measure(model, retrieval, neighbors, queries):
    """Measure the world model and its features on held-out photos."""
    evaluator = evaluation.WorldModelEvaluator(model, retrieval)
    results = evaluator.evaluate()
    doubled = evaluation.WorldModelEvaluator(
        model, retrieval, evaluation.RetrievalBank.doubled(), swapped_image=False
    )
    results["mrr_doubled"] = doubled.evaluate()["mrr"]
    results.update(evaluation.compare_features(model, *neighbors, *queries))
    return results, evaluator


def draw(model, evaluator, results, train, output):
    """Write the four pictures."""
    grid_size = model.encoder.grid_size
    views = model.view_generator(train[:6], training=True)
    visualization.plot_views(
        views, grid_size, action_slots=model.action_space.slots
    ).savefig(output / "views.png")

    visualization.plot_retrieval(evaluator).savefig(output / "retrieval.png")
    # Whole photos, larger than the crops it trained on: positions are resampled.
    photos = datasets.load_sample_photos()
    images = np.stack([photos[name][:256, :256] for name in HELD_OUT])
    latents = model.target_encoder.predict(images, verbose=0)
    cells = 256 // model.encoder.patch_size
    visualization.plot_patch_pca(images, latents, (cells, cells)).savefig(
        output / "patch_pca.png"
    )
    figure = visualization.plot_training_curves(output / "history.csv", results)
    figure.savefig(output / "curves.png")


def main():
    """Train, measure, draw, and write everything down."""
    arguments = parse_arguments()
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)
    train, retrieval, neighbors, queries = make_data(
        arguments.num_crops, arguments.num_evaluation, arguments.seed
    )
    dataset = datasets.ImageArray(train, batch_size=BATCH_SIZE, seed=arguments.seed)
    steps = arguments.epochs * len(dataset)
    model = make_model(arguments, steps)

    timer = TrainingTime()
    model.fit(
        dataset,
        epochs=arguments.epochs,
        callbacks=[
            timer,
            callbacks.WorldModelQuality(
                *queries,
                *neighbors,
                every=arguments.evaluate_every,
                retrieval_images=retrieval[:12],
            ),
            callbacks.HistoryFile(output / "history.csv"),
        ],
        verbose=2,
    )
    results, evaluator = measure(model, retrieval, neighbors, queries)
    summary = {
        "backend": keras.backend.backend(),
        "seconds": timer.seconds,
        "steps": steps,
        "images_per_second": steps * BATCH_SIZE / timer.seconds,
        "conditioning": arguments.conditioning,
        "encoder": arguments.encoder,
        **results,
    }
    model.save(output / "model.keras")
    facts = {
        "data": f"crops of photos of scikit-image and scikit-learn, not {HELD_OUT}",
        "recipe": f"examples/quickstart.py, {vars(arguments)}",
        "results": results,
    }
    model.save_to_preset(output / "preset", facts, weights_dtype="float16")
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(model, evaluator, results, train, output)
    print(json.dumps(summary, indent=2))
    print(f"Model, history, summary and pictures are in {output}/")


if __name__ == "__main__":
    main()
