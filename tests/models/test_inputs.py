"""`fit` takes images from every common pipeline, with and without labels."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_iwm.datasets import ImageArray
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")
LABELS = np.arange(8) % 2


def arrays(*parts):
    return parts


def dataset(*parts):
    images, *labels = parts
    return (ImageArray(images, *labels, batch_size=4, shuffle=False),)


def generator(*parts):
    return ((tuple(part[i : i + 4] for part in parts) for i in (0, 4)),)


def tf_data(*parts):
    tf = pytest.importorskip("tensorflow")
    return (tf.data.Dataset.from_tensor_slices(parts).batch(4),)


def grain_dataset(*parts):
    grain = pytest.importorskip("grain")
    items = list(zip(*parts, strict=True))
    return (grain.MapDataset.source(items).batch(4),)


def torch_loader(*parts):
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(part) for part in parts]
    data = torch.utils.data.TensorDataset(*tensors)
    return (torch.utils.data.DataLoader(data, batch_size=4),)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(
    "pipeline", [arrays, dataset, generator, tf_data, grain_dataset, torch_loader]
)
def test_all_pipelines_give_the_same_loss(pipeline, labelled):
    if pipeline is tf_data and not importlib.util.find_spec("tensorflow"):
        pytest.skip("needs TensorFlow")
    losses = []
    for make in (arrays, pipeline):
        keras.utils.set_random_seed(0)
        model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
        model.compile(AdamW(1e-3), run_eagerly=keras.backend.backend() == "tensorflow")
        parts = make(IMAGES, LABELS) if labelled else make(IMAGES)
        batch_size = {"batch_size": 4} if make is arrays else {}
        history = model.fit(*parts, **batch_size, shuffle=False, verbose=0)
        losses.append(history.history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_views_and_images_may_follow_each_other():
    model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
    model.compile(AdamW(1e-3))
    model.fit(IMAGES, batch_size=4, verbose=0)
    views = {
        name: keras.ops.convert_to_numpy(view)
        for name, view in model.view_generator(IMAGES, training=True).items()
    }
    loss = model.fit(views, batch_size=4, verbose=0).history["loss"][0]
    assert np.isfinite(loss)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="images"):
        ImageArray(IMAGES[:0], batch_size=4)
