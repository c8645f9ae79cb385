"""Freezing, low-rank updates, int8, half precision and weights in downstream models."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.downstream import (
    AttentiveHead,
    ImageClassifier,
    ImageSegmenter,
    LinearHead,
    MultiTaskModel,
    WorldModelBackbone,
    finetuning_recipe,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
LABELS = np.arange(8) % 2
MASKS = np.repeat(LABELS, 256).reshape(8, 16, 16)


def make_backbone(protocol="end_to_end", num_channels=3, **arguments):
    predictor = None
    if protocol in ("predictor", "end_to_end"):
        predictor = WorldModelPredictor(
            (4, 4), 16, 16, 2, 2, action_dim=3, name="predictor", **arguments
        )
    encoder = ViTEncoder(
        16, 4, 16, 2, 2, num_channels=num_channels, name="encoder", **arguments
    )
    return WorldModelBackbone(encoder, predictor, protocol)


def make_classifier(protocol="end_to_end", **arguments):
    return ImageClassifier(make_backbone(protocol, **arguments), 2)


def make_segmenter(protocol="end_to_end", **arguments):
    backbone = make_backbone(protocol, **arguments)
    return ImageSegmenter(backbone, 2, "attentive", ignore_label=5)


def make_multi_task(protocol="end_to_end", **arguments):
    heads = {"one": AttentiveHead(2, 2), "two": LinearHead(2, per_patch=True)}
    return MultiTaskModel(make_backbone(protocol, **arguments), heads)


def freeze(model):
    model.backbone.encoder.patch_embedding.trainable = False
    model.backbone.predictor.blocks[0].trainable = False


def thaw_last_block(model):
    model.backbone.encoder.trainable = False
    model.backbone.encoder.blocks[1].trainable = True


def enable_lora(model):
    for part in (model.backbone.encoder, model.backbone.predictor):
        for block in part.blocks:
            block.attention.query_key_value.enable_lora(2)
            block.mlp_output.enable_lora(2)


def quantize(model):
    model.backbone.encoder.quantize("int8", type_check=False)


def data_of(model):
    if isinstance(model, MultiTaskModel):
        return {"one": IMAGES, "two": IMAGES}, {"one": LABELS, "two": MASKS}
    return IMAGES, LABELS if isinstance(model, ImageClassifier) else MASKS


def compile_model(model):
    loss = None
    if isinstance(model, MultiTaskModel):
        loss = {
            name: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for name in model.heads
        }
    optimizer = finetuning_recipe(model, 4, 8, warmup_fraction=0.0)
    model.compile(optimizer, loss=loss)


def predict(model):
    outputs = model.predict(data_of(model)[0], batch_size=8, verbose=0)
    return keras.tree.flatten(outputs)


def values(variables):
    return [ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (make_classifier, freeze),
        (make_classifier, thaw_last_block),
        (make_classifier, enable_lora),
        (make_classifier, quantize),
        (make_segmenter, freeze),
        (make_multi_task, enable_lora),
    ],
)
def test_a_changed_model_is_saved_with_its_optimizer(make, change, tmp_path):
    model = make()
    change(model)
    compile_model(model)
    model.fit(*data_of(model), batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    for one, two in zip(
        values(model.optimizer.variables),
        values(loaded.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(predict(model), predict(loaded), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    for each in (model, loaded):
        each.fit(*data_of(each), batch_size=8, shuffle=False, verbose=0)
    for one, two in zip(values(model.weights), values(loaded.weights), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_copies_of_a_changed_encoder_are_changed_alike():
    encoder = make_backbone("encoder").encoder
    encoder.blocks[0].mlp_hidden.enable_lora(2)
    encoder.blocks[1].mlp_hidden.quantize("int8", type_check=False)
    encoder.patch_embedding.trainable = False
    copy = WorldModelBackbone.from_world_model(encoder, "encoder").encoder
    for one, two in zip(encoder.weights, copy.weights, strict=True):
        assert (one.dtype, one.trainable) == (two.dtype, two.trainable)
        np.testing.assert_array_equal(*values((one, two)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_half_precision_with_drop_path_learns(policy):
    model = make_classifier(dtype=policy, drop_path_rate=0.2)
    compile_model(model)
    before = values([model.head_layer.logits.kernel])[0]
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert np.abs(values([model.head_layer.logits.kernel])[0] - before).max() > 0
    assert predict(model)[0].dtype == "float32"


@pytest.mark.parametrize("make", [make_classifier, make_segmenter])
@pytest.mark.parametrize("num_channels", [1, 12])
def test_channels_pass_through_from_a_symbolic_input(make, num_channels):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, num_channels))
    model = make("predictor", num_channels=num_channels)
    expected = ops.convert_to_numpy(model(images))
    inputs = keras.Input((16, 16, num_channels))
    outputs = model(inputs)
    assert outputs.shape == (None, *expected.shape[1:])
    functional = keras.Model(inputs, outputs)
    np.testing.assert_allclose(
        functional.predict(images, verbose=0), expected, atol=1e-6
    )
    open_size = keras.Input((None, None, num_channels))
    assert model.backbone(open_size).shape == (None, None, 16)


def test_losses_of_layers_are_added_to_the_loss():
    for make in (make_classifier, make_segmenter, make_multi_task):
        model = make()
        compile_model(model)
        x, y = data_of(model)
        plain = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)["loss"]
        kernel = model.backbone.encoder.blocks[0].mlp_hidden.kernel
        kernel.regularizer = keras.regularizers.L2(0.5)
        compile_model(model)
        own = 0.5 * float(np.sum(values([kernel])[0] ** 2))
        both = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)["loss"]
        np.testing.assert_allclose(both - plain, own, rtol=1e-4)


def evaluated(model, **arguments):
    x, y = data_of(model)
    return model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True, **arguments)[
        "loss"
    ]


def test_weights_of_samples_and_classes_count_or_are_refused_by_name():
    weights = np.arange(8) / 7
    classifier = make_classifier("frozen")
    compile_model(classifier)
    logits = predict(classifier)[0].astype("float64")
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), LABELS]
    expected = np.mean(weights * losses)
    np.testing.assert_allclose(
        evaluated(classifier, sample_weight=weights), expected, rtol=1e-5
    )
    loss = classifier.fit(
        IMAGES, LABELS, 8, class_weight={0: 1.0, 1: 3.0}, verbose=0
    ).history["loss"][0]
    np.testing.assert_allclose(loss, np.mean((1 + 2 * LABELS) * losses), rtol=1e-5)

    segmenter = make_segmenter("frozen")
    compile_model(segmenter)
    of_images = evaluated(segmenter, sample_weight=weights)
    of_pixels = np.broadcast_to(weights[:, None, None], MASKS.shape)
    compile_model(segmenter)  # TensorFlow takes one rank of them in one function
    np.testing.assert_allclose(
        of_images, evaluated(segmenter, sample_weight=of_pixels), rtol=1e-6
    )
    assert abs(of_images - evaluated(segmenter)) > 1e-3
    model = make_multi_task("predictor")
    compile_model(model)
    halves = {"one": np.full(8, 0.5), "two": np.full(MASKS.shape, 0.5)}
    np.testing.assert_allclose(
        evaluated(model, sample_weight=halves), evaluated(model) / 2, rtol=1e-5
    )
    for each in (segmenter, model):
        with pytest.raises(ValueError, match="`class_weight` is not used"):
            each.fit(*data_of(each), class_weight={0: 1.0}, verbose=0)


@pytest.mark.parametrize("make", [make_classifier, make_segmenter, make_multi_task])
def test_the_third_argument_of_fit_is_the_batch_size(make):
    model = make("predictor")
    compile_model(model)
    model.fit(*data_of(model), 4, 1, 0)
    assert int(model.optimizer.iterations) == 2
    model.backbone.predictor.blocks[0].trainable = False
    with pytest.raises(ValueError, match="Call `compile` again"):
        model.fit(*data_of(model), 4, 1, 0)
    compile_model(model)
    model.fit(*data_of(model), 4, 1, 0)


def test_one_hot_labels_need_their_loss():
    model = make_classifier("frozen")
    compile_model(model)
    one_hot = np.eye(2, dtype="float32")[LABELS]
    with pytest.raises(ValueError, match="`y` must hold integers for SparseCateg"):
        model.fit(IMAGES, one_hot, verbose=0)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="`y` must be one-hot or probabilities"):
        model.fit(IMAGES, LABELS, verbose=0)
    model.fit(IMAGES, one_hot, verbose=0)


def test_models_are_asked_for_their_parts_and_not_for_their_class():
    class Other:
        """A model of another method: a feature encoder, and nothing else."""

        feature_encoder = make_backbone("encoder").encoder

    for protocol in ("frozen", "encoder"):
        backbone = WorldModelBackbone.from_world_model(Other(), protocol)
        np.testing.assert_array_equal(
            *values((backbone(IMAGES), Other.feature_encoder(IMAGES)))
        )
    with pytest.raises(ValueError, match="needs a world model with its predictor.*Oth"):
        WorldModelBackbone.from_world_model(Other(), "predictor")
    with pytest.raises(ValueError, match="`model` must be a pretrained model"):
        WorldModelBackbone.from_world_model("model.keras")
    for rate in (-0.1, 1.0, "a", float("nan")):
        with pytest.raises(ValueError, match="`drop_path_rate` must be"):
            WorldModelBackbone.from_world_model(Other(), "encoder", False, rate)


def test_what_is_no_backbone_is_refused():
    for make in (ImageClassifier, ImageSegmenter, MultiTaskModel):
        with pytest.raises(ValueError, match="`backbone` must be a WorldModelBackbone"):
            make(make_backbone("encoder").encoder, 2)
    for label in ("255", 1.5, float("nan")):
        with pytest.raises(ValueError, match="`ignore_label` must be an integer"):
            ImageSegmenter(make_backbone("encoder"), 2, ignore_label=label)
