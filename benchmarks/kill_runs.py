"""Kill runs with SIGKILL at random moments, resume them, and compare the ends.

    python benchmarks/kill_runs.py --kills 200
    python benchmarks/kill_runs.py --kills 8 --backends torch --kinds pretraining

Each kind of run (pretraining, classifier, segmenter, multi_task, and shards, which is
pretraining on images in tar files, one of them damaged) on each backend is done once
undisturbed. Then the same script is started again and again and killed, some
random time after a random step, until the kills are spent; the last start runs to its
end. Weights, optimizer, history and the file of the history must be the same, bit for
bit. The run saves after every second step, so that many kills hit a file being written.
Starts are forks of a process that has imported all packages and run nothing.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

BACKENDS = ("jax", "tensorflow", "torch")
KINDS = ("pretraining", "classifier", "segmenter", "multi_task", "shards")
EPOCHS, BATCH, SAMPLES = 3, 4, 34  # eight steps an epoch, two images left out


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="of all runs together")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="path of a JSON file")
    return parser.parse_args()


def make_model(kind):
    """Make and compile a tiny model, with stochastic depth where it learns."""
    import keras

    from keras_iwm import backbones, downstream, models, optimizers

    keras.utils.set_random_seed(0)
    encoder = backbones.ViTEncoder(16, 4, 16, 2, 2, drop_path_rate=0.3)
    predictor = backbones.WorldModelPredictor((4, 4), 16, 16, 1, 2)
    optimizer = optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-3, 24))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if kind in ("pretraining", "shards"):
        model = models.ImageWorldModel.from_encoder(encoder)
        model.compile(optimizer)
        return model
    backbone = downstream.WorldModelBackbone(encoder, predictor, "end_to_end")
    if kind == "classifier":
        model = downstream.ImageClassifier(backbone, 2)
        model.compile(optimizer, metrics=["accuracy"])
    elif kind == "segmenter":
        model = downstream.ImageSegmenter(backbone, 3)
        model.compile(optimizer)
    else:
        heads = {name: downstream.LinearHead(2) for name in ("one", "two")}
        model = downstream.MultiTaskModel(backbone, heads)
        model.compile(optimizer, loss={"one": entropy, "two": entropy})
    return model


def make_shards(folder):
    """Pack random pictures, and one that is damaged."""
    import numpy as np
    from PIL import Image

    from keras_iwm import datasets

    pictures = folder / "pictures"
    pictures.mkdir()
    for number, pixels in enumerate(
        np.random.default_rng(0).integers(0, 256, (SAMPLES, 16, 16, 3), "uint8")
    ):
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    (pictures / "3.png").write_bytes(b"no picture")
    datasets.pack_folder(pictures, folder / "shards", 10_240)


def make_dataset(kind, folder):
    """Make the data, the same in each start."""
    import numpy as np

    from keras_iwm import datasets

    if kind == "shards":
        return datasets.ImageShards(folder / "shards", 16, BATCH, num_streams=2)
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (SAMPLES, 16, 16, 3), "uint8")
    labels = draws.integers(0, 2, SAMPLES)
    if kind == "pretraining":
        return datasets.ImageArray(images, batch_size=BATCH)
    if kind == "classifier":
        return datasets.ImageArray(images, labels, batch_size=BATCH)
    if kind == "segmenter":
        masks = draws.integers(0, 3, (SAMPLES, 16, 16))
        return datasets.ImageArray(images, masks, batch_size=BATCH)
    data = {name: (images, labels) for name in ("one", "two")}
    return datasets.MultiTaskBatches(data, BATCH, batches_per_epoch=8)


def work(kind, folder, pipe):
    """Start a run, or go on with it; tell each step, and at the end write it down."""
    import keras
    import numpy as np

    from keras_iwm.callbacks import RunCheckpoint

    class Tell(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pipe.send("step")

    dataset, history = make_dataset(kind, folder.parent), folder / "history.csv"
    stopping = keras.callbacks.EarlyStopping("loss", patience=99)
    checkpoint = RunCheckpoint(
        folder / "checkpoints", every_steps=2, callbacks=[stopping]
    )
    model, epoch = checkpoint.resume(dataset, lambda: make_model(kind), history)
    logger = keras.callbacks.CSVLogger(history, append=epoch > 0)
    fitted = model.fit(
        dataset,
        initial_epoch=epoch,
        epochs=EPOCHS,
        callbacks=[Tell(), logger, stopping, checkpoint],
        verbose=0,
    )
    variables = [*model.weights, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
    np.savez(folder / "end.npz", *arrays)
    (folder / "end.json").write_text(json.dumps([fitted.history, stopping.wait]))


def start(kind, folder):
    """Start the run in a process of its own; return it and where it tells its steps."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras_iwm"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(kind, folder, there))
    process.start()
    there.close()
    return process, here


def kill_at_random(kind, folder, steps, seconds):
    """Kill a run some time after some steps; return whether it was still running."""
    process, pipe = start(kind, folder)
    try:
        for _ in range(steps):
            pipe.recv()
    except EOFError:
        pass  # It has come to its end.
    time.sleep(random.uniform(0, seconds))
    process.kill()
    process.join()
    return process.exitcode == -9


def run_to_the_end(kind, folder):
    """Let a run finish; return the seconds of a step."""
    process, pipe = start(kind, folder)
    times = []
    try:
        while True:
            pipe.recv()
            times.append(time.perf_counter())
    except EOFError:
        process.join()
    if process.exitcode:
        sys.exit(f"{kind} in {folder} failed with code {process.exitcode}")
    return (times[-1] - times[0]) / len(times)


def same_ends(one, two):
    """Whether two runs ended with the same weights, optimizer and histories."""
    import numpy as np

    arrays = [np.load(folder / "end.npz") for folder in (one, two)]
    same = arrays[0].files == arrays[1].files and all(
        arrays[0][name].tobytes() == arrays[1][name].tobytes()
        for name in arrays[0].files
    )
    return same and all(
        (one / name).read_bytes() == (two / name).read_bytes()
        for name in ("end.json", "history.csv")
    )


def measure(kinds, kills):
    """Kill the runs of one backend; return a dictionary for each kind."""
    from tqdm import tqdm

    results = []
    progress = tqdm(total=kills, desc=f"Kills on {os.environ['KERAS_BACKEND']}")
    for place, kind in enumerate(kinds):
        root = pathlib.Path(tempfile.mkdtemp())
        if kind == "shards":
            make_shards(root)
        whole, part = (pathlib.Path(tempfile.mkdtemp(dir=root)) for _ in range(2))
        seconds = run_to_the_end(kind, whole)
        done = while_writing = 0
        while done < (kills + place) // len(kinds):
            if (part / "end.json").exists():  # Another run, from its beginning.
                assert same_ends(whole, part)
                part = pathlib.Path(tempfile.mkdtemp(dir=root))
            if kill_at_random(kind, part, random.randint(1, 3), 3 * seconds):
                done += 1
                progress.update()
            while_writing += (part / "checkpoints" / "unfinished.keras").exists()
        run_to_the_end(kind, part)
        results.append(
            {
                "backend": os.environ["KERAS_BACKEND"],
                "kind": kind,
                "kills": done,
                "while_writing": while_writing,
                "same": same_ends(whole, part),
            }
        )
    progress.close()
    return results


def main():
    """Kill, resume, compare and print."""
    arguments = parse_arguments()
    random.seed(arguments.seed)
    if len(arguments.backends) == 1:
        os.environ["KERAS_BACKEND"] = arguments.backends[0]
        results = measure(arguments.kinds, arguments.kills)
    else:
        results = []
        for place, backend in enumerate(arguments.backends):
            kills = (arguments.kills + place) // len(arguments.backends)
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                options = ["--backends", backend, "--kills", str(kills)]
                options += ["--kinds", *arguments.kinds, "--output", file.name]
                options += ["--seed", str(arguments.seed)]
                subprocess.run([sys.executable, __file__, *options], check=True)
                results += json.loads(pathlib.Path(file.name).read_text())
    for result in results:
        print(json.dumps(result))
    total = sum(result["kills"] for result in results)
    survived = sum(result["kills"] for result in results if result["same"])
    writing = sum(result["while_writing"] for result in results)
    print(f"Survived bit for bit: {survived} of {total} kills, {writing} in a save")
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
