import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.actions import ChannelOffset
from keras_iwm.backbones import PRESETS, ViTEncoder
from keras_iwm.evaluation import compare_features, flops_per_image
from keras_iwm.layers.batch_norm import BatchNorm
from keras_iwm.layers.batch_normalized_mlp import BatchNormalizedMLP
from keras_iwm.models import ContrastiveModel
from keras_iwm.models.contrastive_loss import ContrastiveLoss
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, ViewGenerator

TORCH_ALONE = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="nothing differs between backends"
)


def small_model(num_classes=None, **arguments):
    arguments = {"projector_dims": (24, 20, 8), "predictor_dims": (12, 8), **arguments}
    encoder = ViTEncoder((16, 24), 4, 16, 2, 2, name="encoder")
    return ContrastiveModel.from_encoder(
        encoder, seed=3, num_classes=num_classes, **arguments
    )


def random_images(count=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 24, 3)).astype("uint8")


def numpy_mlp(mlp, x):
    """Dense layers without bias, batch norms, and ReLU between them."""
    for dense, norm in zip(mlp.dense_layers, mlp.norms, strict=True):
        x = x @ ops.convert_to_numpy(dense.kernel)
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        if norm is not mlp.norms[-1]:
            x = np.maximum(x * norm.gamma.numpy() + norm.beta.numpy(), 0)
    return x


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def info_nce(query, keys, temperature):
    """MoCo v3's loss of each query, written out."""
    logits = unit(query) @ unit(keys).T / temperature
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -2 * temperature * np.log(np.diag(chances))


def test_call_and_loss_equal_the_numpy_forward_pass():
    model = small_model(temperature=0.3)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    views = model.view_generator(random_images(6), training=True)
    views = {name: ops.convert_to_numpy(view) for name, view in views.items()}
    outputs = {k: ops.convert_to_numpy(v) for k, v in model(views).items()}

    def projected(encoder, projector, view):
        latents = numpy_vit.encode(encoder, views[view])["norm"]
        return numpy_mlp(projector, latents.mean(axis=1))

    prediction, target = [], []
    for seen, other in (("first", "second"), ("second", "first")):
        projection = projected(model.encoder, model.projector, seen)
        prediction.append(numpy_mlp(model.projection_predictor, projection))
        target.append(projected(model.target_encoder, model.target_projector, other))
    for name, expected in (("prediction", prediction), ("target", target)):
        np.testing.assert_allclose(outputs[name], np.stack(expected, 1), atol=2e-4)
    pairs = zip(prediction, target, strict=True)
    expected = sum(info_nce(p, t, 0.3).mean() for p, t in pairs)
    np.testing.assert_allclose(float(model.method_loss(outputs)), expected, 1e-4)
    cosines = (unit(np.stack(prediction)) * unit(np.stack(target))).sum(-1)
    expected = (2 - 2 * cosines).mean(axis=1).sum()
    without = ContrastiveLoss(negatives=False)(outputs["target"], outputs["prediction"])
    np.testing.assert_allclose(float(without), expected, 1e-4)


@TORCH_ALONE
def test_losses_and_gradients_are_those_of_another_library():
    torch = pytest.importorskip("torch")
    loss = pytest.importorskip("lightly.loss")
    draws = torch.Generator().manual_seed(0)
    prediction, target = torch.randn((2, 6, 2, 5), generator=draws)
    values = {}
    for negatives in (True, False):
        leaf = prediction.clone().requires_grad_()
        ours = ContrastiveLoss(0.3, negatives)(target, leaf)
        (gradient,) = torch.autograd.grad(ours, leaf)
        values[negatives] = ours.detach(), gradient
    # Their bank of negatives has room for those of one image.
    leaf, total = prediction.clone().requires_grad_(), 0
    entropy = loss.NTXentLoss(temperature=0.3, memory_bank_size=(5, 5))
    for view in range(2):
        for image in range(6):
            others = target[torch.arange(6) != image, view]
            entropy.memory_bank.bank = torch.nn.functional.normalize(others, dim=1)
            row = slice(image, image + 1)
            total = total + entropy(leaf[row, view], target[row, view]) / 6
    theirs = 2 * 0.3 * total
    (gradient,) = torch.autograd.grad(theirs, leaf)
    torch.testing.assert_close(values[True], (theirs.detach(), gradient))
    leaf = prediction.clone().requires_grad_()
    cosine = loss.NegativeCosineSimilarity()
    theirs = sum(2 + 2 * cosine(leaf[:, view], target[:, view]) for view in range(2))
    (gradient,) = torch.autograd.grad(theirs, leaf)
    torch.testing.assert_close(values[False], (theirs.detach(), gradient))


def test_batch_norm_is_that_of_keras_while_it_trains():
    inputs = np.random.default_rng(0).normal(3, 2, (5, 2, 4)).astype("float32")
    norm = BatchNorm()
    outputs = ops.convert_to_numpy(norm(inputs))
    for view in range(2):
        expected = keras.layers.BatchNormalization(epsilon=1e-5)(
            inputs[:, view], training=True
        )
        np.testing.assert_allclose(
            outputs[:, view], ops.convert_to_numpy(expected), atol=1e-5
        )
    # Of one image nothing is left, and nothing breaks.
    np.testing.assert_array_equal(ops.convert_to_numpy(norm(inputs[:1])), 0)


def test_teacher_has_all_its_parts_and_follows_their_closed_form():
    model = small_model(ema_momentum=0.75)
    parts = [
        (model.encoder, model.target_encoder),
        (model.projector, model.target_projector),
    ]

    def check_only_the_student_learns():
        learning = (model.encoder, model.projector, model.projection_predictor)
        expected = [id(v) for part in learning for v in part.trainable_variables]
        assert {id(v) for v in model.trainable_variables} == set(expected)
        assert len(expected) == sum(len(part.weights) for part in learning)
        assert not any(w.trainable for _, part in parts for w in part.weights)

    check_only_the_student_learns()
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    check_only_the_student_learns()
    start = [target.get_weights() for _, target in parts]
    for (student, _), weights in zip(parts, start, strict=True):
        for one, two in zip(student.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, two)
    model.compile(AdamW(1e-2))
    model.fit(random_images(8), batch_size=8, verbose=0)
    for (student, target), weights in zip(parts, start, strict=True):
        moved = zip(weights, student.get_weights(), target.get_weights(), strict=True)
        for old, new, followed in moved:
            np.testing.assert_allclose(followed, 0.75 * old + 0.25 * new, atol=1e-6)


def test_without_predictor_the_projection_is_the_prediction():
    model = small_model(predictor_dims=())
    images = random_images(4).astype("float32")
    outputs = model({"first": images, "second": images})
    # Both views are the same, and so is the teacher still.
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(outputs[k]) for k in ("prediction", "target")), atol=1e-4
    )


def test_a_random_patch_projection_stays_random_also_in_a_file(tmp_path):
    model = small_model()
    model.encoder.patch_embedding.trainable = False
    model.compile(AdamW(1e-2))
    model.save(tmp_path / "frozen.keras")
    model = keras.models.load_model(tmp_path / "frozen.keras")
    frozen = model.encoder.patch_embedding.get_weights()
    block = model.encoder.blocks[0].get_weights()
    model.fit(random_images(8), batch_size=8, verbose=0)
    for one, two in zip(
        frozen, model.encoder.patch_embedding.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert np.abs(block[0] - model.encoder.blocks[0].get_weights()[0]).max() > 1e-3


@TORCH_ALONE
@pytest.mark.parametrize(
    ("preset", "encoder", "projector", "predictor"),
    [
        # Dense layers without bias, two weights a feature of hidden norms.
        ("moco_tiny_32", 353_952, 378_880, 132_096),
        ("byol_tiny_32", 353_952, 115_712, 132_096),
        ("moco_tiny_96", 5_484_096, 1_511_424, 526_336),
        ("byol_tiny_96", 5_484_096, 460_800, 526_336),
        ("moco_base_224", 85_637_376, 20_987_904, 2_105_344),
        ("byol_base_224", 85_637_376, 4_202_496, 2_105_344),
    ],
)
def test_parameter_counts_of_presets(preset, encoder, projector, predictor):
    dims = [PRESETS[preset][name] for name in ("projector_dims", "predictor_dims")]
    with keras.device("meta"):
        trunk = ViTEncoder.from_preset(preset, load_weights=False)
        heads = [
            BatchNormalizedMLP(trunk.hidden_dim, dims[0]),
            BatchNormalizedMLP(dims[0][-1], dims[1]),
        ]
    counts = [part.count_params() for part in (trunk, *heads)]
    assert counts == [encoder, projector, predictor]


@TORCH_ALONE
def test_widths_of_the_papers():
    assert PRESETS["moco_base_224"]["projector_dims"] == (4096, 4096, 256)
    assert PRESETS["byol_base_224"]["projector_dims"] == (4096, 256)
    for method in ("moco", "byol"):
        assert PRESETS[f"{method}_base_224"]["predictor_dims"] == (4096, 256)
        model = ContrastiveModel.from_preset(f"{method}_tiny_32", load_weights=False)
        assert model.negatives == (method == "moco")
        assert model.ema_momentum == (0.99 if model.negatives else 0.996)


@TORCH_ALONE
def test_operations_are_those_of_both_views():
    model = small_model()
    encoder = flops_per_image(model.encoder)
    heads = [
        (model.projector, 16 * 24 + 24 * 20 + 20 * 8),
        (model.projection_predictor, 8 * 12 + 12 * 8),
    ]
    student = 2 * encoder + sum(2 * 2 * products for _, products in heads)
    teacher = 2 * encoder + 2 * 2 * heads[0][1]
    assert flops_per_image(model) == student + teacher
    assert flops_per_image(model, training=True) == 3 * student + teacher


def test_evaluation_and_prediction_do_not_depend_on_the_call():
    model = small_model()
    model.compile(AdamW(1e-3))
    images = random_images(8)
    assert model.evaluate(images, batch_size=8, verbose=0) == pytest.approx(
        model.evaluate(images, batch_size=8, verbose=0), abs=1e-6
    )
    one, two = (model.predict(images, batch_size=8, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(one["prediction"], two["prediction"])
    assert one["prediction"].shape == one["target"].shape == (8, 2, 8)


def textures(count, seed):
    """Grey images of a texture and a brightness of their own; which half is darker."""
    rng = np.random.default_rng(seed)
    tiles = rng.normal(0, 15, (count, 4, 4, 1))
    images = np.tile(tiles, (1, 4, 4, 1)) + rng.uniform(80, 170, (count, 1, 1, 1))
    labels = tiles[:, :2].mean(axis=(1, 2, 3)) > tiles[:, 2:].mean(axis=(1, 2, 3))
    return images.clip(0, 255).astype("uint8"), labels.astype("int32")


def recognised(model, images):
    """Share of images that are told from all others by what is predicted."""
    outputs = model.predict(images, batch_size=len(images), verbose=0)
    prediction, target = (unit(outputs[k][:, 0]) for k in ("prediction", "target"))
    return np.mean((prediction @ target.T).argmax(1) == np.arange(len(images)))


@pytest.mark.parametrize("negatives", [True, pytest.param(False, marks=TORCH_ALONE)])
def test_a_short_run_learns_to_recognise_images_it_has_not_seen(negatives):
    train, test = textures(320, 1), textures(160, 2)
    model = ContrastiveModel.from_encoder(
        ViTEncoder(16, 4, 32, 1, 2, num_channels=1),
        transforms=([ChannelOffset(1, 0.3)],) * 2,
        crop=None,
        projector_dims=(64, 64, 16),
        predictor_dims=(64, 16),
        negatives=negatives,
        ema_momentum=0.9,
        seed=0,
    )
    model.compile(AdamW(5e-3, weight_decay=0.05))
    assert recognised(model, test[0]) < 0.05  # chance is 1 / 160
    loss = model.fit(train[0], batch_size=64, epochs=12, verbose=0).history["loss"]
    # Without knowing any image it is 0.8 * log(64) = 3.3, and 4 without negatives.
    assert loss[-1] < (2.7 if negatives else 2.0)
    assert recognised(model, test[0]) > 0.12
    # Nobody has told it of the halves, which the texture decides; chance is a half.
    results = compare_features(model, *train, *test)
    assert results["knn_accuracy"] > 0.55
    assert results["ridge_accuracy"] > 0.75
    assert results["rankme"] > 3


def test_arguments_that_do_not_fit_are_refused():
    model = small_model()
    views = ViewGenerator((16, 24), MultiBlockMask((4, 6)))
    with pytest.raises(ValueError, match="TwoViewGenerator"):
        ContrastiveModel(model.encoder, views)
    with pytest.raises(ValueError, match="`predictor_dims` must end.* 8"):
        small_model(predictor_dims=(12, 9))
    with pytest.raises(ValueError, match="`projector_dims`"):
        small_model(projector_dims=())
    with pytest.raises(ValueError, match="of another method"):
        ContrastiveModel.from_preset("iwm_tiny_32", load_weights=False)
    with pytest.raises(ValueError, match="first.*second"):
        model({"first": random_images(2)})
