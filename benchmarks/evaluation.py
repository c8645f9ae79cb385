"""How close the measurement of a world model comes to the speed of bare forward passes.

    python benchmarks/evaluation.py --preset iwm_small_224

An image's bank is 256 augmented images to encode and 256 predictions to make. For each
backend one process measures the MRR of some images, and one runs the bare networks:
the target encoder on as many images, and the predictor on as many latents, without
jitter, distances and ranks. They take turns; what is printed is the ratio of their
speeds, and each one's images a second.
"""

import argparse
import statistics
import time

import turns


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="iwm_small_224")
    parser.add_argument("--images", type=int, default=2, help="in a block")
    parser.add_argument("--bank-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=3, help="turns of each process")
    parser.add_argument(
        "--backends", nargs="+", choices=turns.BACKENDS, default=turns.BACKENDS
    )
    parser.add_argument("--output", help="path of the JSON file")
    parser.add_argument("--worker", choices=("mrr", "bare"), help=argparse.SUPPRESS)
    return parser.parse_args()


def work(arguments):
    """Measure the MRR, or run the bare networks, whenever asked."""
    import numpy as np

    import keras_iwm

    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset, load_weights=False, seed=0
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (arguments.images, *model.image_size, 3), "uint8")
    if arguments.worker == "mrr":
        evaluator = keras_iwm.evaluation.WorldModelEvaluator(
            model,
            images,
            keras_iwm.evaluation.RetrievalBank(arguments.bank_size),
            arguments.batch_size,
            swapped_image=False,
        )

        def run():
            evaluator.evaluate(verbose=False)
    else:
        batch_size = arguments.batch_size
        bare = bare_networks(model)
        ids = np.arange(model.num_patches, dtype="int32")
        ids = np.broadcast_to(ids, (batch_size, model.num_patches))
        batch = {
            "images": np.repeat(images[:1], batch_size, axis=0).astype("float32"),
            "ids": ids,
            "action": np.zeros(
                (batch_size, model.view_generator.action_space.action_dim), "float32"
            ),
        }
        count = arguments.images * arguments.bank_size // batch_size

        def run():
            for _ in range(count):
                bare.predict_on_batch(batch)

    def run_block():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    first = run_block()
    turns.serve({"first_seconds": first}, run_block)


def bare_networks(model):
    """Make a Keras model of the target encoder and the predictor alone."""
    import keras

    class Networks(keras.Model):
        def __init__(self):
            super().__init__(autocast=False)
            self.encoder, self.predictor = model.target_encoder, model.predictor
            self.built = True

        def call(self, inputs):
            latents = self.encoder(inputs["images"], training=False)
            ids = inputs["ids"]
            prediction = self.predictor(
                latents, ids, ids, inputs["action"], training=False
            )
            return keras.ops.mean(prediction, axis=(1, 2))

    return Networks()


def main():
    """Start two workers for each backend and compare them."""
    arguments = parse_arguments()
    if arguments.worker:
        work(arguments)
        return
    pairs = turns.start_pairs(__file__, arguments.backends, ("mrr", "bare"))
    workers = [worker for pair in pairs.values() for worker in pair]
    turns.take_turns(workers, arguments.blocks)
    results = {}
    total = arguments.images * arguments.bank_size
    print(f"{arguments.preset}, {arguments.images} banks of {arguments.bank_size}")
    print("backend      bank images/s  bare networks  ratio")
    for backend, (mrr, bare) in pairs.items():
        row = {
            "images_per_second": total / statistics.median(mrr.blocks),
            "bare_images_per_second": total / statistics.median(bare.blocks),
            "ratio": statistics.median(
                without / whole
                for whole, without in zip(mrr.blocks, bare.blocks, strict=True)
            ),
        }
        results[backend] = row
        print(
            f"{backend:11s} {row['images_per_second']:14.1f} "
            f"{row['bare_images_per_second']:14.1f} {row['ratio']:6.2f}"
        )
    for worker in workers:
        worker.close()
    turns.write(arguments.output, {"arguments": vars(arguments), "results": results})


if __name__ == "__main__":
    main()
