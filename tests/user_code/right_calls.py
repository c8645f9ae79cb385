"""What a user of the library writes, all of it as it should be."""

import pathlib

import keras
import numpy as np
from keras import ops

import keras_iwm
from keras_iwm.actions import ActionSpace, ColorJitter, Grayscale, Transform
from keras_iwm.backbones import ViTEncoder, read_published
from keras_iwm.callbacks import HistoryFile, RunCheckpoint, WorldModelQuality
from keras_iwm.datasets import ImageArray, ImageFolder, load_images
from keras_iwm.downstream import (
    ImageClassifier,
    WorldModelBackbone,
    finetuning_recipe,
    linear_probe,
)
from keras_iwm.evaluation import (
    RetrievalBank,
    WorldModelEvaluator,
    extract_features,
    knn_accuracy,
    nearest_neighbors,
)
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW, pretraining_recipe
from keras_iwm.visualization import plot_retrieval, save_figure


class Gamma(Transform):
    """An operation of a user's own."""

    parameters = ("gamma",)
    identity = (1.0,)
    scales = (1.0,)

    def draw(self, uniforms):
        return 0.5 + uniforms

    def apply(self, images, parameters):
        return ops.power(images, ops.reshape(parameters, (-1, 1, 1, 1)))


folder = pathlib.Path("photos")
train, held_out = ImageFolder(folder, image_size=(96, 96), batch_size=32).split(0.1)
images, labels = held_out.load()
assert labels is not None, "a folder for each class"
photos, classes = load_images("photos.npz", limit=100, seed=0)

recipe = pretraining_recipe(steps=1000, batch_size=32)
model = ImageWorldModel.from_preset(
    "iwm_tiny_96", load_weights=False, ema_momentum=recipe.ema_momentum
)
model.compile(recipe.optimizer)
callbacks = [
    WorldModelQuality(images, labels, bank=RetrievalBank(size=64)),
    RunCheckpoint(folder / "run", monitor="mrr", mode="max"),
    HistoryFile("history.csv"),
]
history = model.fit(train, epochs=2, callbacks=callbacks)
print(history.history["loss"])

checkpoint = RunCheckpoint("run", every_seconds=60)
model, epoch = checkpoint.resume(ImageArray(photos, batch_size=8), lambda: model)
resumed = RunCheckpoint.latest("run")
if resumed is not None:
    print(resumed[0].upper(), epoch + resumed[1])

encoder: ViTEncoder = read_published("hf://facebook/ijepa_vith14_1k", image_size=224)
features = extract_features(encoder, photos, blocks=["block_00", "norm"])
accuracy = knn_accuracy(features, [0, 1] * 50)
nearest, similarities = nearest_neighbors(features, k=5)
print(round(accuracy, 3), nearest.shape, similarities.mean(axis=0), features[0].sum())
print(keras_iwm.metrics.rank_me(ops.convert_to_tensor(features)) + 1.0)

evaluator = WorldModelEvaluator(model, images, RetrievalBank.doubled(seed=1))
print(max(evaluator.evaluate(verbose=False).values()), evaluator.slots[0].upper())
save_figure(plot_retrieval(evaluator), folder / "retrieval.pdf", caption="Retrieval")

space = ActionSpace([ColorJitter(), Gamma()], [Grayscale(probability=0.5)])
action = space.between(space.identity(4), np.zeros((4, 5), "float32"))
print(action[0], space.action_dim + 1, space.slots)

backbone = WorldModelBackbone.from_world_model(model, protocol="frozen")
classifier = ImageClassifier(backbone, num_classes=10, head="linear")
classifier.compile(finetuning_recipe(classifier, steps=100, batch_size=16))
classifier.export("classifier.onnx", format="onnx")
rate = keras.optimizers.schedules.CosineDecay(1e-3, 100)
AdamW(rate, learning_rate_multipliers={"^encoder/": 0.1}, clipnorm=1.0)
print(linear_probe(features, labels, features, labels, epochs=5)["accuracy"])

loaded = keras_iwm.saving.load_model("model.keras")
loaded.save_to_preset("preset", facts={"data": "photos"})
same = ImageClassifier.from_preset("preset")
print(same.predict(images), same.num_channels * 2)
