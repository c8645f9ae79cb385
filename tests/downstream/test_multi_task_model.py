import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import (
    MultiTaskBatches,
    load_sample_photos,
    random_photo_crops,
)
from keras_iwm.downstream import (
    AttentiveHead,
    LinearHead,
    MultiTaskModel,
    WorldModelBackbone,
    finetuning_recipe,
)
from keras_iwm.metrics import MeanIntersectionOverUnion
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

LOSS = {
    name: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for name in ("photo", "upright")
}
METRICS = {"photo": ["accuracy"], "upright": ["accuracy"]}


def make_model(**heads):
    """A model of two tasks on a small world model, with tokens far apart."""
    views = ViewGenerator(
        16, MultiBlockMask((4, 4), num_context=4, num_targets=7), seed=0
    )
    world_model = ImageWorldModel(
        ViTEncoder(16, 4, 32, 1, 2, name="encoder"),
        WorldModelPredictor(
            (4, 4),
            32,
            32,
            1,
            2,
            action_dim=views.action_space.action_dim,
            name="predictor",
        ),
        views,
    )
    model = MultiTaskModel(
        WorldModelBackbone.from_world_model(world_model),
        heads or {"photo": AttentiveHead(3, 2), "upright": LinearHead(2)},
    )
    rng = np.random.default_rng(0)
    for token in model.task_tokens.values():
        token.assign(rng.normal(size=token.shape))
    return model


def make_data(seed, half, sizes):
    """Which photo a crop is from, and for other crops whether it stands upright."""
    photos = load_sample_photos()
    chosen = {name: photos[name] for name in ("coffee", "astronaut", "flower")}
    crops, labels = random_photo_crops(chosen, sum(sizes), 16, seed=seed, half=half)
    photo, upright = np.split(crops, [sizes[0]])
    # A dark lower half stands for the ground.
    upright = upright // np.repeat([1, 4], 8)[:, None, None].astype("uint8")
    turned = np.arange(len(upright)) % 2
    upright[turned == 1] = upright[turned == 1, ::-1]
    return {"photo": (photo, labels[: sizes[0]]), "upright": (upright, turned)}


@pytest.fixture(scope="module")
def train():
    return make_data(0, "left", (192, 96))


def to_numpy(outputs):
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


def by_itself(model, images, task, token):
    """The outputs of one task by way of the backbone, with a token of our choice."""
    tokens = np.tile(ops.convert_to_numpy(model.task_tokens[token]), (len(images), 1))
    latents = model.backbone(images, task_token=tokens)
    return ops.convert_to_numpy(model.heads[task](latents))


def test_one_pass_equals_a_pass_for_each_task_with_its_token(train):
    model, images = make_model(), train["photo"][0][:8]
    # Not even of one dtype.
    upright = images[5:].astype("float32")
    together = to_numpy(model({"upright": upright, "photo": images[:5]}))
    for task, other, part in (
        ("photo", "upright", slice(None, 5)),
        ("upright", "photo", slice(5, None)),
    ):
        expected = by_itself(model, images, task, task)
        np.testing.assert_allclose(together[task], expected[part], atol=1e-5)
        alone = to_numpy(model({task: images}))
        assert list(alone) == [task]
        np.testing.assert_allclose(alone[task], expected, atol=1e-5)
        with_other_token = by_itself(model, images, task, other)
        assert np.abs(with_other_token - expected).max() > 1e-3


def test_a_step_adds_the_losses_and_moves_what_learns(train):
    model = make_model()
    images = {name: data[0][:4] for name, data in train.items()}
    labels = {name: data[1][:4] for name, data in train.items()}
    expected = {}
    for name, logits in to_numpy(model(images)).items():
        logits = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected[name] = -logits[np.arange(4), labels[name]].mean()
    before = {v.path: ops.convert_to_numpy(v) for v in model.weights}
    # Plain descent: what has a gradient moves, what has none stays.
    model.compile(keras.optimizers.SGD(1.0), loss=LOSS, metrics=METRICS)
    history = model.fit(images, labels, batch_size=8, verbose=0).history
    for name, loss in expected.items():
        np.testing.assert_allclose(history[f"{name}_loss"][0], loss, atol=1e-5)
        assert 0 <= history[f"{name}_accuracy"][0] <= 1
    np.testing.assert_allclose(history["loss"][0], sum(expected.values()), atol=1e-5)
    still = {
        v.path
        for v in model.weights
        if np.array_equal(ops.convert_to_numpy(v), before[v.path])
    }
    # The null action is zero, and so is the gradient of what it is multiplied by.
    idle = {"predictor/action_features/action/kernel"}
    assert still - idle == {v.path for v in model.backbone.encoder.weights}
    tokens = {f"{model.name}/{name}_token" for name in LOSS}
    assert tokens < set(before) - still


def fit(model, dataset, **kwargs):
    model.compile(
        finetuning_recipe(model, 120, 48, learning_rate=5e-3, predictor_multiplier=1.0),
        loss=LOSS,
        metrics=METRICS,
    )
    return model.fit(dataset, verbose=0, **kwargs)


def test_both_tasks_are_learned_on_a_frozen_encoder(train):
    model = make_model()
    encoder = model.backbone.encoder.get_weights()
    fit(model, MultiTaskBatches(train, 48), epochs=15)
    for one, two in zip(encoder, model.backbone.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for name, (images, labels) in make_data(1, "right", (120, 120)).items():
        logits = model.predict({name: images}, batch_size=120, verbose=0)[name]
        accuracy = np.mean(logits.argmax(axis=-1) == labels)
        # The other half of each photo; chance is a third and a half.
        assert accuracy > {"photo": 0.55, "upright": 0.75}[name], (name, accuracy)


def test_pixels_and_images_are_classified_together(train):
    model = make_model(photo=LinearHead(3), bright=LinearHead(2, per_patch=True))
    images, labels = train["photo"]
    # Bright patches, as a mask of pixels; the upper border is not known.
    brightness = images.reshape(-1, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5))
    masks = (brightness > np.median(brightness)).astype("int32")
    masks = masks.repeat(4, axis=1).repeat(4, axis=2)
    masks[:, :2] = 255
    data = {"photo": (images, labels), "bright": (images, masks)}

    # The logits of the patches lie at their centres, and linearly in between.
    outputs = to_numpy(model({"photo": images[:4], "bright": images[:4]}))
    tokens = np.tile(ops.convert_to_numpy(model.task_tokens["bright"]), (4, 1))
    latents = model.backbone(images[:4], task_token=tokens)
    patches = ops.convert_to_numpy(
        model.heads["bright"](ops.reshape(latents, (4, 4, 4, 32)))
    )
    centres = (np.arange(16) + 0.5) / 4 - 0.5
    weights = np.stack([np.interp(centres, range(4), row) for row in np.eye(4)], 1)
    expected = np.einsum("yr,brck,xc->byxk", weights, patches, weights)
    np.testing.assert_allclose(outputs["bright"], expected, atol=1e-5)
    assert outputs["photo"].shape == (4, 3)

    def compile_model(ignore_class):
        model.compile(
            finetuning_recipe(model, 60, 48, 5e-3, predictor_multiplier=1.0),
            loss={
                "photo": LOSS["photo"],
                "bright": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, ignore_class=ignore_class
                ),
            },
            metrics={"bright": [MeanIntersectionOverUnion(2, ignore_label=255)]},
        )

    compile_model(None)
    with pytest.raises(ValueError, match=r"y\['bright'\].*from 0 to 255"):
        model.fit(MultiTaskBatches(data, 48))
    compile_model(255)
    small = {**data, "bright": (images, masks[:, ::2])}
    with pytest.raises(ValueError, match=r"y\['bright'\].*\(16, 16\).*\(8, 16\)"):
        model.fit(MultiTaskBatches(small, 48))
    history = model.fit(MultiTaskBatches(data, 48), epochs=8, verbose=0).history
    assert history["photo_loss"][-1] < 0.9 * np.log(3)
    assert history["bright_mean_iou"][-1] > 0.6  # a third if all were bright
    logits = model.predict({"bright": images}, batch_size=192, verbose=0)["bright"]
    known = masks != 255
    assert np.mean(logits.argmax(axis=-1)[known] == masks[known]) > 0.8


def test_training_goes_on_from_a_file_as_if_it_had_not_stopped(train, tmp_path):
    data = {
        name: (images[:20], labels[:20]) for name, (images, labels) in train.items()
    }
    data["upright"] = tuple(part[:12] for part in data["upright"])
    model, path = make_model(), tmp_path / "model.keras"
    saved = {}

    def save(epoch, logs):
        if epoch == 0:
            model.save(path)
            saved.update(to_numpy(model(images)))

    images = {"photo": data["photo"][0][:5], "upright": data["upright"][0][:3]}
    keep = keras.callbacks.LambdaCallback(on_epoch_end=save)
    fit(model, MultiTaskBatches(data, 8), epochs=2, callbacks=[keep])

    loaded = keras.models.load_model(path)
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    for name, outputs in to_numpy(loaded(images)).items():
        np.testing.assert_allclose(outputs, saved[name], atol=1e-5)
    dataset = MultiTaskBatches(data, 8)
    dataset.epoch = 1
    history = loaded.fit(dataset, initial_epoch=1, epochs=2, verbose=0).history
    assert {"photo_accuracy", "upright_accuracy"} < set(history)
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_heads_are_made_anew_and_named_after_their_tasks():
    world_model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
    backbone = WorldModelBackbone.from_world_model(world_model)
    head = LinearHead(4)
    model = MultiTaskModel(backbone, {"one": head, "two": head})
    assert not head.built
    heads = [path for path in (v.path for v in model.weights) if "_head/" in path]
    assert heads == [
        f"{name}_head/logits/{weight}"
        for name in ("one", "two")
        for weight in ("kernel", "bias")
    ]
    model.trainable = False
    assert not model.trainable_variables
    model.trainable = True
    assert not model.backbone.encoder.trainable_variables


def test_wrong_parts_are_refused():
    world_model = ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False, seed=0)
    make = WorldModelBackbone.from_world_model
    with pytest.raises(ValueError, match="must have a predictor.*'frozen'"):
        MultiTaskModel(make(world_model, "frozen"), {"one": LinearHead(2)})
    backbone = make(world_model)
    with pytest.raises(ValueError, match="at least one task"):
        MultiTaskModel(backbone, {})
    with pytest.raises(ValueError, match="at least one task. Received: LinearHead"):
        MultiTaskModel(backbone, LinearHead(2))
    for name in ("", "a/b", "_a", "a b", 3):
        with pytest.raises(ValueError, match="Names of tasks.*Received: "):
            MultiTaskModel(backbone, {name: LinearHead(2)})
    with pytest.raises(ValueError, match=r"heads\['one'\]` must be a layer.*: 10"):
        MultiTaskModel(backbone, {"one": 10})


def test_wrong_data_is_refused(train):
    model = make_model()
    model.compile("sgd", loss=LOSS)
    images = {name: data[0][:8] for name, data in train.items()}
    labels = {name: data[1][:8] for name, data in train.items()}
    photo = {"photo": images["photo"]}
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"Missing: \['upright'\]"):
            run(photo, {"photo": labels["photo"]})
        with pytest.raises(ValueError, match=r"y\['photo'\].*classes from 0 to 2"):
            run(images, {**labels, "photo": labels["photo"] + 1})
    with pytest.raises(ValueError, match=r"Missing: \['upright'\]"):
        model.fit(MultiTaskBatches({"photo": train["photo"]}))
    wrong = (train["upright"][0], train["upright"][1] + 2)
    with pytest.raises(ValueError, match=r"y\['upright'\].*from 0 to 3"):
        model.fit(MultiTaskBatches({**train, "upright": wrong}))
    wrong = {**labels, "upright": labels["upright"] - 1}
    with pytest.raises(ValueError, match=r"validation_data\[1\]\['upright'\]"):
        model.fit(images, labels, validation_data=(images, wrong))
    with pytest.raises(ValueError, match=r"\['photo', 'upright'\].*: \['cats'\]"):
        model({"cats": images["photo"]})
    with pytest.raises(ValueError, match="{'photo': images}"):
        model(images["photo"])
    with pytest.raises(ValueError, match=r"one size.*'upright': \(8, 16\)"):
        model({**photo, "upright": images["upright"][:, :8]})
