"""What one backend does in a process of its own for the tests across backends.

python worker.py train FOLDER OPTIMIZER   # three steps from given weights and views
python worker.py save FOLDER              # train, save, and write outputs down
python worker.py load FOLDER              # load, compare, and go on training
"""

import importlib.util
import pathlib
import sys
import warnings

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

import keras
import numpy as np
from keras import ops

import keras_iwm
from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.heads import DenoisingStepsHead, DiffusionHead
from keras_iwm.models import ContrastiveModel, ImageWorldModel, PixelWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

STEPS = 3
BATCH = 4


def make_model(targets="latents"):
    """A small model with everything switched on that the views do not decide."""
    encoder = ViTEncoder((16, 24), 4, 16, 2, 2)
    views = ViewGenerator((16, 24), MultiBlockMask((4, 6)), seed=3)
    if targets == "pixels":
        return PixelWorldModel.from_encoder(encoder, predictor_dim=12, seed=3)
    predictor = WorldModelPredictor((4, 6), 16, 12, 2, 2, action_dim=7)
    return ImageWorldModel(encoder, predictor, views, ema_momentum=0.9)


def random_images(count):
    """Images that are the same in every process."""
    return np.random.default_rng(0).integers(0, 256, (count, 16, 24, 3)).astype("uint8")


def train(folder, optimizer, targets="latents"):
    """Take three steps from the same weights on the same views."""
    rng = np.random.default_rng(0)
    model = make_model(targets)
    model.encoder.set_weights(
        [
            rng.normal(0, 0.2, w.shape) + (w.name == "gamma")
            for w in model.encoder.weights
        ]
    )
    model.predictor.set_weights(
        [
            rng.normal(0, 0.2, w.shape) + (w.name == "gamma")
            for w in model.predictor.weights
        ]
    )
    if targets == "latents":
        model.reset_target_encoder()
    count = STEPS * BATCH
    order = np.stack([rng.permutation(24) for _ in range(count)]).astype("int32")
    views = {
        "source": rng.uniform(0, 255, (count, 16, 24, 3)).astype("float32"),
        "target": rng.uniform(0, 255, (count, 16, 24, 3)).astype("float32"),
        "action": rng.uniform(-1, 1, (count, 7)).astype("float32"),
        "context_ids": order[:, :10],
        "target_ids": order[:, 14:],
    }
    if optimizer == "sgd":
        model.compile(keras.optimizers.SGD(0.1))
    else:
        model.compile(keras_iwm.optimizers.AdamW(1e-3))
    losses = []
    for step in range(STEPS):
        batch = {k: v[step * BATCH : (step + 1) * BATCH] for k, v in views.items()}
        losses.append(float(model.train_on_batch(batch)))
    np.savez(
        folder / f"{optimizer}_{targets}_{keras.backend.backend()}.npz",
        np.array(losses),
        *model.get_weights(),
    )


def contrast(folder):
    """Take three steps of a contrastive model from the same weights and views."""
    rng = np.random.default_rng(0)
    model = ContrastiveModel.from_encoder(
        ViTEncoder((16, 24), 4, 16, 2, 2, name="encoder"),
        projector_dims=(24, 24, 8),
        predictor_dims=(24, 8),
        ema_momentum=0.9,
    )
    for part in (model.encoder, model.projector, model.projection_predictor):
        for weight in part.weights:
            weight.assign(rng.normal(0, 0.2, weight.shape) + (weight.name == "gamma"))
    model.reset_target_encoder()
    shape = (STEPS, 4 * BATCH, 16, 24, 3)
    views = rng.uniform(0, 255, (2, *shape)).astype("float32")
    model.compile(keras.optimizers.SGD(0.02))
    losses = [
        float(model.train_on_batch(dict(zip(("first", "second"), pair, strict=True))))
        for pair in views.swapaxes(0, 1)
    ]
    np.savez(
        folder / f"contrastive_{keras.backend.backend()}.npz",
        np.array(losses),
        *model.get_weights(),
    )


def save(folder):
    """Train, save the model, and write its outputs down."""
    model = make_model()
    recipe = keras_iwm.optimizers.pretraining_recipe(10, BATCH, learning_rate=1e-3)
    model.compile(recipe.optimizer)
    model.fit(random_images(8), batch_size=BATCH, verbose=0)
    name = keras.backend.backend()
    model.save(folder / f"{name}.keras")
    keras_iwm.saving.save_shards(model, folder / name)
    views = {
        k: ops.convert_to_numpy(v)
        for k, v in model.view_generator(random_images(4)).items()
    }
    np.savez(
        folder / f"{name}.npz",
        prediction=ops.convert_to_numpy(model(views)["prediction"]),
        iterations=ops.convert_to_numpy(model.optimizer.iterations),
        **views,
    )


def load(folder):
    """Load every file, compare outputs, and go on training."""
    for path in sorted(folder.glob("*.keras")):
        # A resolved `jit_compile` or a foreign optimizer would warn.
        warnings.simplefilter("error", UserWarning)
        model = keras.models.load_model(path)
        warnings.simplefilter("default")
        with np.load(path.with_suffix(".npz")) as saved:
            views = {
                k: saved[k] for k in saved if k not in ("prediction", "iterations")
            }
            prediction = ops.convert_to_numpy(model(views)["prediction"])
            np.testing.assert_allclose(prediction, saved["prediction"], atol=1e-5)
            iterations = int(saved["iterations"])
        assert int(ops.convert_to_numpy(model.optimizer.iterations)) == iterations
        of_shards = keras_iwm.saving.load_model(path.with_suffix(""))
        for one, two in zip(
            [*model.variables, *model.optimizer.variables],
            [*of_shards.variables, *of_shards.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(one), ops.convert_to_numpy(two)
            )
        fresh = make_model()
        fresh.compile(keras_iwm.optimizers.AdamW())
        assert model.jit_compile == fresh.jit_compile
        assert len(model.trainable_variables) == len(fresh.trainable_variables)
        before = model.encoder.get_weights()[0]
        model.fit(random_images(8), batch_size=BATCH, verbose=0)
        assert np.abs(model.encoder.get_weights()[0] - before).max() > 0
        assert int(ops.convert_to_numpy(model.optimizer.iterations)) == iterations + 2


def jitter(folder):
    """Compare the compiled jitter, fused and rounded otherwise, with the eager one."""
    transform = ColorJitter(probability=1.0, strength=2.0)
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (16, 32, 32, 3)) / 255).astype("float32")
    uniforms = rng.random((16, transform.num_draws), "float32")
    parameters = transform.sample(ops.convert_to_tensor(uniforms))
    parameters = ops.convert_to_numpy(parameters)
    inputs = [keras.Input((32, 32, 3)), keras.Input((4,))]
    layer = keras.layers.Lambda(
        lambda values: transform.apply(*values), output_shape=(32, 32, 3)
    )
    model = keras.Model(inputs, layer(inputs))
    # Torch runs eagerly, here as for users.
    model.compile(jit_compile=keras.backend.backend() != "torch")
    compiled = model.predict_on_batch([images, parameters])
    eager = transform.apply(*map(ops.convert_to_tensor, (images, parameters)))
    np.testing.assert_allclose(compiled, ops.convert_to_numpy(eager), atol=1e-4)
    np.savez(folder / f"colors_{keras.backend.backend()}.npz", compiled)


def denoise(folder):
    """Answers of the heads' networks with the same weights, steps and noise."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype("float32")

    answers = []
    for head in (DiffusionHead(6, 5, 8), DenoisingStepsHead(6, 5, 8)):
        weights = head.network.weights
        head.network.set_weights([rng.normal(0, 0.3, w.shape) for w in weights])
        conditions, targets = normal(4, 3, 6), normal(4, 3, 1, 5)
        steps = rng.integers(1, len(head.shares), (4, 3, 2))
        noise = normal(head.noises_per_level, 4, 3, 2, 5)
        noisy, answer = head.add_noise(
            *map(ops.convert_to_tensor, (targets, steps, noise))
        )
        answers += [answer, head.network(noisy, steps, conditions)]
    answers = map(ops.convert_to_numpy, answers)
    np.savez(folder / f"heads_{keras.backend.backend()}.npz", *answers)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "compute":
        denoise(folder)
        train(folder, "sgd")
        train(folder, "adamw")
        train(folder, "sgd", "pixels")
        contrast(folder)
        jitter(folder)
    else:
        {"save": save, "load": load}[sys.argv[1]](folder)
