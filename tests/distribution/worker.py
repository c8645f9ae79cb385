"""What one backend does on several devices, in processes of its own.

python worker.py FOLDER                                        # JAX, TensorFlow
python -m torch.distributed.run --nproc-per-node 2 worker.py FOLDER     # Torch
python -m torch.distributed.run --nproc-per-node 4 worker.py FOLDER train

Every number that the tests look at goes into FOLDER/results.npz.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import sys

if importlib.util.find_spec("torch"):
    import torch

import keras
import numpy as np
from keras import ops

import keras_iwm
from keras_iwm import downstream
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.backend import seed_states
from keras_iwm.layers import VarianceCovarianceRegularizer
from keras_iwm.models import (
    ContrastiveModel,
    ImageWorldModel,
    TeacherFreeWorldModel,
)
from keras_iwm.saving.shard_folder import ShardFolder
from keras_iwm.views import MultiBlockMask, ViewGenerator

BACKEND = keras.backend.backend()
COUNTS = {"jax": (1, 2, 4, 8), "torch": (1, int(os.environ.get("WORLD_SIZE", 1)))}
COUNTS = COUNTS.get(BACKEND, (1, 2))
BATCH, STEPS, STEPS_BEFORE = 8, 5, 2
FOLDER, ONLY_TRAINS = pathlib.Path(sys.argv[1]), sys.argv[2:] == ["train"]


@keras.saving.register_keras_serializable(package="test")
class RecordingModel(ImageWorldModel):
    """Keeps what the last train step drew: actions, positions, and predictions."""

    def call(self, inputs, training=None):
        views = inputs
        if not isinstance(inputs, dict):
            views = self.view_generator(inputs, training=training)
        outputs = super().call(views, training=training)
        if training:
            row = [ops.cast(views[k], "float32") for k in ("action", "target_ids")]
            row.append(ops.mean(outputs["prediction"], axis=1))
            row = ops.stop_gradient(ops.concatenate(row, axis=-1))
            self.record.assign(ops.reshape(row, self.record.shape))
        return outputs


def make_model(drop_path_rate=0.0, record=None):
    """A small model; one that records `record` rows in each copy of it."""
    encoder = ViTEncoder(16, 4, 16, 2, 2, drop_path_rate=drop_path_rate, name="encoder")
    mask = MultiBlockMask(4, num_context=5, num_targets=4)
    views = ViewGenerator(16, mask, seed=3)
    predictor = WorldModelPredictor((4, 4), 16, 16, 1, 2, name="predictor")
    model_class = RecordingModel if record else ImageWorldModel
    model = model_class(encoder, predictor, views, ema_momentum=0.9)
    if record:
        model.record = model.add_weight(
            shape=(record, 7 + 4 + 16), trainable=False, name="record"
        )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def make_views(count):
    """Views that are the same in every process."""
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(16) for _ in range(count)]).astype("int32")
    return {
        "source": rng.uniform(0, 255, (count, 16, 16, 3)).astype("float32"),
        "target": rng.uniform(0, 255, (count, 16, 16, 3)).astype("float32"),
        "action": rng.uniform(-1, 1, (count, 7)).astype("float32"),
        "context_ids": order[:, :5],
        "target_ids": order[:, 12:],
    }


def part(views, start, stop):
    """Some rows of the views."""
    return {key: value[start:stop] for key, value in views.items()}


def processes():
    """Rank of this process, and how many there are."""
    if BACKEND == "torch" and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def run(method, data, writers=()):
    """Loss of `model.fit` or `model.evaluate` on this process's share of the data."""
    rank, count = processes()
    data = keras.tree.map_structure(lambda rows: rows[rank::count], data)
    arguments = {"batch_size": BATCH // count, "verbose": 0}
    if method.__name__ == "evaluate":
        return method(data, **arguments)
    arguments["callbacks"] = list(writers)
    return method(data, shuffle=False, **arguments).history["loss"][0]


def flat_weights(model):
    """All weights of student, predictor and teacher as one vector."""
    parts = (model.encoder, model.predictor, model.target_encoder)
    return np.concatenate([np.ravel(w) for p in parts for w in p.get_weights()])


def copies(variable):
    """A variable's value on every device, the first axis being theirs."""
    if BACKEND == "tensorflow":
        return np.stack([value.numpy() for value in variable.value.values])
    if BACKEND == "torch":
        gathered = [None] * processes()[1]
        torch.distributed.all_gather_object(gathered, ops.convert_to_numpy(variable))
        return np.stack(gathered)
    return np.stack([np.asarray(s.data) for s in variable.value.addressable_shards])


@functools.cache
def mirrored_strategy(count):
    """One strategy for all models: a second one would number its exchanges alike."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def on_devices(count):
    """The scope in which models for so many devices are made."""
    if BACKEND == "tensorflow" and count > 1:
        return mirrored_strategy(count).scope()
    if BACKEND == "jax":
        devices = keras.distribution.list_devices()[:count]
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices) if count > 1 else None
        )
    return contextlib.nullcontext()


def train(count, results):
    """Five steps on the same views, with a checkpoint on the way.

    On several devices it is in shards.
    """
    views = make_views(BATCH * STEPS)
    with on_devices(count):
        model = make_model()
    if BACKEND == "torch":
        model.replicas.bucket_size = 1000  # so that there are several
    rank, _ = processes()
    if rank:  # a process that starts otherwise, and must be put right
        model.encoder.set_weights([w + 1 for w in model.encoder.get_weights()])
    checkpoint = keras_iwm.callbacks.RunCheckpoint(
        FOLDER / f"after_{count}", sharded=count > 1
    )
    losses = [
        run(model.fit, part(views, 0, BATCH * STEPS_BEFORE), [checkpoint]),
        run(model.fit, part(views, BATCH * STEPS_BEFORE, None)),
    ]
    results[f"loss_{count}"] = losses
    results[f"weights_{count}"] = flat_weights(model)
    if BACKEND == "torch":
        results[f"evaluated_{count}"] = run(model.evaluate, views)
    if count > 1:
        results[f"apart_{count}"] = max(
            np.ptp(copies(variable), axis=0).max() for variable in model.variables
        )


class Batches(keras.utils.PyDataset):
    """Batches of views; of some of them this process's share."""

    def __init__(self, views):
        super().__init__()
        self.views = views

    def __len__(self):
        return len(self.views["source"]) // BATCH

    def __getitem__(self, index):
        rank, count = processes()
        views = part(self.views, index * BATCH, (index + 1) * BATCH)
        return ({key: rows[rank::count] for key, rows in views.items()},)


def accumulate(count, results):
    """Two updates of four batches each, and what was sent for them."""
    views = make_views(4 * BATCH * 2)
    model = make_model()
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4))
    model.replicas.bucket_size = 1000  # so that there are several
    sent, send = [], torch.distributed.all_reduce

    def note(tensor, *arguments, **options):
        sent.append(tensor.numel())
        return send(tensor, *arguments, **options)

    torch.distributed.all_reduce = note
    model.fit(Batches(views), shuffle=False, verbose=0)
    torch.distributed.all_reduce = send
    results[f"accumulated_{count}"] = flat_weights(model)
    results[f"accumulated_sent_{count}"] = sent
    results["accumulated_size"] = sum(
        np.prod(variable.shape) for variable in model.trainable_variables
    )
    results[f"accumulated_apart_{count}"] = max(
        np.ptp(copies(v), axis=0).max() if count > 1 else 0
        for v in (*model.variables, *model.optimizer.variables)
    )


def exchange_in_half(results):
    """Five steps whose gradients travel as bfloat16."""
    model = make_model()
    keras_iwm.distribution.set_exchange_dtype(model, "bfloat16")
    run(model.fit, make_views(BATCH * STEPS))
    results["weights_half"] = flat_weights(model)
    results["apart_half"] = max(
        np.ptp(copies(variable), axis=0).max() for variable in model.variables
    )


def skip(count, results):
    """Three steps, the second with NaN on the last device alone; and without it."""
    views = make_views(BATCH * 3)
    views["source"][2 * BATCH - 1] = np.nan
    whole = np.r_[:BATCH, 2 * BATCH : 3 * BATCH]
    for name, data in (
        ("skipped", views),
        ("left_out", {key: rows[whole] for key, rows in views.items()}),
    ):
        keras.utils.set_random_seed(0)
        with on_devices(count):
            model = make_model()
        history = model.fit(Batches(data), shuffle=False, verbose=0).history
        parts = (*model.variables, *model.optimizer.variables)
        results[f"state_{name}"] = np.concatenate(
            [np.ravel(ops.convert_to_numpy(ops.cast(v, "float32"))) for v in parts]
        )
        results[f"loss_{name}"] = history["loss"]
        results[f"apart_{name}"] = max(np.ptp(copies(v), axis=0).max() for v in parts)


def move(count, destination, results):
    """The last three steps, from a checkpoint, on other devices."""
    with on_devices(destination):
        path, *_ = keras_iwm.callbacks.RunCheckpoint.latest(FOLDER / f"after_{count}")
        model = keras_iwm.saving.load_model(path)
    run(model.fit, part(make_views(BATCH * STEPS), BATCH * STEPS_BEFORE, None))
    results[f"weights_moved_to_{destination}"] = flat_weights(model)


def tune(count, results):
    """Three steps of a classifier, its whole backbone being trained."""
    rng = np.random.default_rng(2)
    images = rng.uniform(0, 255, (3 * BATCH, 16, 16, 3)).astype("float32")
    labels = rng.integers(0, 3, 3 * BATCH)
    with on_devices(count):
        backbone = downstream.WorldModelBackbone.from_world_model(
            make_model(), "end_to_end"
        )
        model = downstream.ImageClassifier(backbone, 3, head="linear")
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    rank, processes_count = processes()
    if rank:
        model.set_weights([weight + 1 for weight in model.get_weights()])
    history = model.fit(
        images[rank::processes_count],
        labels[rank::processes_count],
        batch_size=BATCH // processes_count,
        shuffle=False,
        verbose=0,
    )
    results[f"tuning_loss_{count}"] = history.history["loss"]
    results[f"tuned_{count}"] = np.concatenate(
        [np.ravel(weight) for weight in model.get_weights()]
    )


def contrast(count, results):
    """Three steps that compare all images of a batch, wherever they are."""
    rng = np.random.default_rng(4)
    shape = (3 * BATCH, 16, 16, 3)
    views = {
        name: rng.uniform(0, 255, shape).astype("float32")
        for name in ("first", "second")
    }
    with on_devices(count):
        model = ContrastiveModel.from_encoder(
            ViTEncoder(16, 4, 16, 1, 2, name="encoder"),
            projector_dims=(24, 24, 8),
            predictor_dims=(24, 8),
            ema_momentum=0.9,
        )
        model.compile(keras.optimizers.SGD(0.1))
    if processes()[0]:
        model.set_weights([weight + 1 for weight in model.get_weights()])
    results[f"contrastive_loss_{count}"] = [
        run(model.fit, part(views, start, start + BATCH))
        for start in range(0, 3 * BATCH, BATCH)
    ]
    results[f"contrastive_weights_{count}"] = np.concatenate(
        [np.ravel(weight) for weight in model.get_weights()]
    )
    results[f"contrastive_evaluation_{count}"] = run(
        model.evaluate, part(views, 0, BATCH)
    )


def regularize(count, results):
    """Three steps whose variances are those of a whole batch, wherever it is."""
    views = make_views(3 * BATCH)
    with on_devices(count):
        model = TeacherFreeWorldModel.from_encoder(
            ViTEncoder(16, 4, 16, 1, 2, name="encoder"),
            mask=MultiBlockMask(4, num_context=5, num_targets=4),
            regularizer=VarianceCovarianceRegularizer(1.0, 1.0, name="regularizer"),
        )
        model.compile(keras.optimizers.SGD(0.1))
    if processes()[0]:
        model.set_weights([weight + 1 for weight in model.get_weights()])
    results[f"regularized_loss_{count}"] = [
        run(model.fit, part(views, start, start + BATCH))
        for start in range(0, 3 * BATCH, BATCH)
    ]
    results[f"regularized_weights_{count}"] = np.concatenate(
        [np.ravel(weight) for weight in model.get_weights()]
    )


def draws(count, data, **arguments):
    """What each of so many devices draws in a train step: (count, rows, slots)."""
    rows = BATCH if BACKEND == "jax" else BATCH // count
    with on_devices(count):
        model = make_model(record=rows, **arguments)
    run(model.fit, data)
    record = copies(model.record)
    if BACKEND == "jax":  # every device holds the record of the whole batch
        record = record[0].reshape(count, BATCH // count, -1)
    return record, model


def draw(count, results):
    """What devices draw for the same image, and then for the same views."""
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3)).astype("uint8")
    record, model = draws(count, np.repeat(image, BATCH, axis=0))
    results["actions"], results["target_ids"] = record[..., :7], record[..., 7:11]
    results["seeds"] = np.stack([ops.convert_to_numpy(s) for s in seed_states(model)])
    views = {key: np.repeat(row, BATCH, axis=0) for key, row in make_views(1).items()}
    # On two devices: few paths can be dropped in a row, and four rows seldom agree.
    record, _ = draws(2, views, drop_path_rate=0.5)
    results["dropped"] = record[..., 11:]


def split_over(shape):
    """Split models and batches over devices from here on; return their mesh."""
    mesh = keras.distribution.DeviceMesh(
        shape, ("batch", "model"), keras.distribution.list_devices()[: np.prod(shape)]
    )
    layout_map = keras_iwm.distribution.tensor_parallel_layout(mesh)
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch")
    )
    return mesh


def split_model(results):
    """The same five steps with every model split over two of four devices.

    It goes on with half the devices from a checkpoint, whose pieces are those that
    devices hold.
    """
    views, folder = make_views(BATCH * STEPS), FOLDER / "split"
    before = part(views, 0, BATCH * STEPS_BEFORE)
    after = part(views, BATCH * STEPS_BEFORE, None)
    mesh = split_over((2, 2))
    model = make_model()
    checkpoint = keras_iwm.callbacks.RunCheckpoint(folder, sharded=True)
    run(model.fit, before, [checkpoint])
    run(model.fit, after)
    results["weights_split"] = flat_weights(model)
    variables = (*model.variables, *model.optimizer.variables)
    results["split_paths"] = [variable.path for variable in variables]
    results["split_shares"] = [
        np.prod(v.value.sharding.shard_shape(v.value.shape)) / np.prod(v.shape)
        for v in variables
    ]
    split_over((1, 2))
    path, *_ = keras_iwm.callbacks.RunCheckpoint.latest(folder)
    pieces = ShardFolder(path).pieces.values()
    results["most_pieces"] = max(map(len, pieces))
    moved = keras_iwm.saving.load_model(path)
    run(moved.fit, after)
    results["weights_of_shards"] = flat_weights(moved)
    for name, sizes in (("heads", (24, 1, 3)), ("mlp", (24, 1, 2, 7))):
        try:
            ViTEncoder(16, 4, *sizes, name="encoder")
        except ValueError as error:
            results[f"refused_{name}"] = str(error)
    mesh = keras.distribution.DeviceMesh((4,), ("batch",), mesh.devices.ravel())
    try:
        keras_iwm.distribution.tensor_parallel_layout(mesh)
    except ValueError as error:
        results["refused_mesh"] = str(error)


def shard_state(results):
    """The same five steps with every device holding a part of all blocks."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((8,), ("batch",), devices)
    layout_map = keras_iwm.distribution.sharded_state_layout(mesh)
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch")
    )
    model = make_model()
    run(model.fit, make_views(BATCH * STEPS))
    results["weights_of_parts"] = flat_weights(model)
    variables = (*model.variables, *model.optimizer.variables)
    held = sum(variable.value.addressable_data(0).size for variable in variables)
    results["held_of_parts"] = held / sum(np.prod(v.shape) for v in variables)
    try:
        ViTEncoder(16, 4, 20, 1, 2, name="encoder")
    except ValueError as error:
        results["refused_width"] = str(error)
    mesh = keras.distribution.DeviceMesh((8,), ("model",), devices)
    try:
        keras_iwm.distribution.sharded_state_layout(mesh)
    except ValueError as error:
        results["refused_axis"] = str(error)


def measure(count, results):
    """Ranks and features of as many images as no number of devices divides."""
    images = np.random.default_rng(5).integers(0, 256, (5, 16, 16, 3)).astype("uint8")
    with on_devices(count):
        model = make_model()
    evaluator = keras_iwm.evaluation.WorldModelEvaluator(
        model, images[:3], keras_iwm.evaluation.RetrievalBank(9), 4
    )
    results[f"ranks_{count}"] = evaluator.rank_bank(verbose=False)["ranks"]
    results[f"features_{count}"] = keras_iwm.evaluation.extract_features(
        model.target_encoder, images, 3, verbose=False
    )


def refuse_accumulation(results):
    """What `fit` says, and what it has changed by then."""
    with on_devices(2):
        model = make_model()
        model.compile(keras_iwm.optimizers.AdamW(gradient_accumulation_steps=2))
    before = flat_weights(model)
    try:
        run(model.fit, make_views(BATCH))
    except ValueError as error:
        results["refused_accumulation"] = str(error)
    results["changed_by_refusal"] = np.abs(flat_weights(model) - before).max()


def main():
    """Do everything that this backend can."""
    results = {}
    keras.utils.set_random_seed(0)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * 2,
        )

    def seeded(function, *arguments):
        keras.utils.set_random_seed(0)
        function(*arguments)

    last = COUNTS[-1]
    if BACKEND == "torch":
        first = os.environ["RANK"] == "0"
        tasks = [train, tune, contrast, regularize, accumulate]
        tasks = tasks[:1] if ONLY_TRAINS else tasks
        for task in tasks if first else []:
            seeded(task, 1, results)
        torch.distributed.init_process_group("gloo")
        torch.distributed.barrier()
        for task in tasks:
            seeded(task, last, results)
        seeded(move, 1, last, results)
        if not ONLY_TRAINS:
            seeded(draw, last, results)
            seeded(skip, last, results)
            seeded(exchange_in_half, results)
        results["losses_of_ranks"] = [None] * last
        torch.distributed.all_gather_object(
            results["losses_of_ranks"], results[f"loss_{last}"]
        )
        torch.distributed.destroy_process_group()
        if not first:
            return
    else:
        for count in COUNTS:
            seeded(train, count, results)
        for count in (1, 2):
            seeded(tune, count, results)
            seeded(contrast, count, results)
            seeded(regularize, count, results)
        seeded(move, 1, last, results)
        seeded(draw, last, results)
        seeded(skip, 2, results)
    seeded(move, last, 1, results)
    if BACKEND == "jax":
        for count in (1, 2):
            seeded(measure, count, results)
        seeded(split_model, results)
        seeded(shard_state, results)
    if BACKEND == "tensorflow":
        seeded(refuse_accumulation, results)
    np.savez(FOLDER / "results.npz", **results)


if __name__ == "__main__":
    main()
