import warnings

import keras
import numpy as np
import pytest

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.evaluation import flops_per_image
from keras_iwm.models import ImageWorldModel

on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only JAX tells what it has to compute"
)
CONDITIONINGS = ("none", "sequence", "feature")


def small_encoder(**kwargs):
    """An encoder of 24 patches, whose sizes are all different."""
    return ViTEncoder((16, 24), 4, 40, 3, 2, mlp_dim=56, name="encoder", **kwargs)


def small_predictor(conditioning, **kwargs):
    """A predictor for `small_encoder` and an action of 5 slots."""
    return WorldModelPredictor(
        (4, 6), 40, 24, 2, 2, mlp_dim=28, action_dim=5, conditioning=conditioning,
        name="predictor", **kwargs,
    )  # fmt: skip


def world_model(preset="iwm_tiny_32", **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ImageWorldModel.from_preset(preset, load_weights=False, seed=0, **kwargs)


def views_of(model, batch_size):
    """Views of the right shapes, all zeros."""
    mask = model.view_generator.mask
    targets = (mask.num_blocks,) * mask.separate_blocks + (mask.num_targets,)
    images = np.zeros((batch_size, *model.image_size, 3), "float32")
    return {
        "source": images,
        "target": images,
        "action": np.zeros(
            (batch_size, model.view_generator.action_space.action_dim), "float32"
        ),
        "context_ids": np.zeros((batch_size, mask.num_context), "int32"),
        "target_ids": np.zeros((batch_size, *targets), "int32"),
    }


def predictor_inputs(batch_size, num_context, targets):
    """Latents, ids and action for `small_predictor`."""
    return (
        np.zeros((batch_size, num_context, 40), "float32"),
        np.zeros((batch_size, num_context), "int32"),
        np.zeros((batch_size, *targets), "int32"),
        np.zeros((batch_size, 5), "float32"),
    )


def products(jaxpr):
    """Operations of all matrix products in what JAX has traced."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            inner = np.prod(
                [equation.invars[0].aval.shape[axis] for axis in contracted]
            )
            total += 2 * int(inner * np.prod(equation.outvars[0].aval.shape))
        for value in equation.params.values():
            inner_jaxpr = getattr(value, "jaxpr", value)
            if hasattr(inner_jaxpr, "eqns"):
                total += products(inner_jaxpr)
    return total


def traced_products(function, *inputs):
    import jax

    return products(jax.make_jaxpr(function)(*inputs).jaxpr)


def xla_flops(function, *inputs):
    import jax

    return jax.jit(function).lower(*inputs).cost_analysis()["flops"]


def test_an_encoder_by_hand():
    embedding = 2 * 24 * 48 * 40
    attention = 2 * 24 * 40 * 120 + 2 * 24 * 24 * 40 + 2 * 24 * 24 * 40 + 2 * 24 * 40**2
    block = attention + 2 * 24 * 40 * 56 + 2 * 24 * 56 * 40
    assert flops_per_image(small_encoder()) == embedding + 3 * block
    block = 2 * 7 * 4 * 40**2 + 4 * 7 * 7 * 40 + 4 * 7 * 40 * 56
    seven = 2 * 7 * 48 * 40 + 3 * block
    assert flops_per_image(small_encoder(), 7) == seven
    assert flops_per_image(small_encoder(), 7, training=True) == 3 * seven
    remat = small_encoder(remat=True)
    assert flops_per_image(remat, 7) == seven
    assert flops_per_image(remat, 7, training=True) == 3 * seven + 3 * block
    remat.trainable = False
    assert flops_per_image(remat, 7, training=True) == seven


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_a_predictor_by_hand(conditioning):
    tokens = 9 + 6 + (5 if conditioning == "sequence" else 0)
    block = 2 * tokens * 4 * 24**2 + 4 * tokens**2 * 24 + 4 * tokens * 24 * 28
    conditioned = {
        "none": 0,
        "sequence": 2 * 5 * 24,
        "feature": 2 * 5 * 24 + 3 * 2 * 6 * 24**2,
    }
    projections = 2 * 9 * 40 * 24 + 2 * 6 * 24 * 40
    expected = projections + conditioned[conditioning] + 2 * block
    predictor = small_predictor(conditioning)
    assert flops_per_image(predictor, 9, 6) == expected
    assert flops_per_image(predictor, 9, 6, num_blocks=4) == 4 * expected
    assert flops_per_image(predictor) == flops_per_image(predictor, 24, 24)


@pytest.mark.parametrize(("width", "billions"), [(384, 9.2), (768, 35.0)])
def test_known_sizes(width, billions):
    # ViT-S/16 and ViT-B/16 at 224 pixels: 4.6 and 17.5 G multiply-adds are the usual
    # figures, with a class token and a classifier, which are not here.
    one, two = (
        flops_per_image(ViTEncoder(224, 16, width, depth, width // 64))
        for depth in (1, 2)
    )
    twelve = one + 11 * (two - one)
    assert abs(twelve / 1e9 / billions - 1) < 0.02


def test_a_world_model_is_the_sum_of_its_parts():
    model = world_model(num_classes=10)
    mask = model.view_generator.mask
    student = flops_per_image(model.encoder, mask.num_context)
    teacher = flops_per_image(model.target_encoder)
    predictor = flops_per_image(model.predictor, mask.num_context, mask.num_targets)
    probe = 2 * 96 * 10
    assert flops_per_image(model) == student + teacher + predictor + probe
    learnt = student + predictor + probe
    assert flops_per_image(model, training=True) == teacher + 3 * learnt
    model.encoder.trainable = False
    assert flops_per_image(model, training=True) == teacher + 3 * learnt - 2 * student


def test_ijepa_predicts_every_block_apart():
    model = world_model("ijepa_tiny_64")
    mask = model.view_generator.mask
    predictor = flops_per_image(model.predictor, mask.num_context, mask.num_targets)
    without = flops_per_image(model.encoder, mask.num_context) + flops_per_image(
        model.target_encoder
    )
    assert flops_per_image(model) == without + 4 * predictor


@on_jax
def test_products_are_exactly_those_that_jax_traces():
    encoder = small_encoder()
    images = np.zeros((2, 16, 24, 3), "float32")
    assert traced_products(encoder, images) == 2 * flops_per_image(encoder)
    ids = np.zeros((2, 7), "int32")
    traced = traced_products(lambda images, ids: encoder(images, ids), images, ids)
    assert traced == 2 * flops_per_image(encoder, 7)
    published = small_encoder(gated_mlp=True, num_prefix_tokens=3, layer_scale=0.1)
    assert traced_products(published, images) == 2 * flops_per_image(published)
    for conditioning in CONDITIONINGS:
        predictor = small_predictor(conditioning)
        # The tokens of an action are made without a matrix product.
        extra = 2 * 5 * 24 if conditioning == "sequence" else 0
        for targets, blocks in (((6,), 1), ((3, 6), 3)):
            traced = traced_products(predictor, *predictor_inputs(2, 9, targets))
            counted = flops_per_image(predictor, 9, 6, blocks)
            assert traced == 2 * (counted - blocks * extra)
    for preset in ("iwm_tiny_32", "ijepa_tiny_32"):
        model = world_model(preset)
        traced = traced_products(model, views_of(model, 2))
        assert traced == 2 * flops_per_image(model)


@on_jax
@pytest.mark.parametrize("remat", [False, True])
def test_products_of_a_training_step(remat):
    import jax

    model = world_model(remat=remat)
    state = [[variable.value for variable in variables] for variables in (
        model.trainable_variables, model.non_trainable_variables
    )]  # fmt: skip

    def loss(trainable, views):
        outputs, _ = model.stateless_call(trainable, state[1], views, training=True)
        return model.compute_loss(y_pred=outputs)

    traced = traced_products(jax.grad(loss), state[0], views_of(model, 2)) / 2
    counted = flops_per_image(model, training=True)
    # What the count has too much: gradients for images, of which there are none, for
    # the action and for what is not needed again in the backward pass.
    assert 0.93 < traced / counted <= 1
    if remat:
        assert traced > 1.1 * flops_per_image(world_model(), training=True)


@on_jax
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_xla_counts_a_little_more(conditioning):
    # XLA also counts norms, softmax, GELU and sums, at one operation for each step of
    # theirs and number (erf, a function of its own, at none), where a product has twice
    # its inner size, 192 and more here.
    model = world_model(conditioning=conditioning)
    mask, inputs = model.view_generator.mask, views_of(model, 1)
    latents = np.zeros((1, mask.num_context, 96), "float32")
    pairs = [
        (xla_flops(model, inputs), flops_per_image(model)),
        (
            xla_flops(model.encoder, inputs["target"]),
            flops_per_image(model.encoder),
        ),
        (
            xla_flops(
                model.predictor,
                latents,
                inputs["context_ids"],
                inputs["target_ids"],
                inputs["action"],
            ),
            flops_per_image(model.predictor, mask.num_context, mask.num_targets),
        ),
    ]
    for received, counted in pairs:
        assert 1.012 < received / counted < 1.015


@pytest.mark.parametrize(
    ("part", "arguments", "message"),
    [
        ("layer", {}, "`model` must be"),
        (
            "encoder",
            {"num_context": 0},
            "`num_context` must be an integer of at least 1",
        ),
        (
            "predictor",
            {"num_targets": 2.5},
            "`num_targets` must be an integer of at least 1",
        ),
        ("encoder", {"num_targets": 3}, "an encoder has none"),
        ("encoder", {"num_blocks": 2}, "for a WorldModelPredictor alone"),
        ("model", {"num_context": 9}, "knows its own"),
    ],
)
def test_bad_arguments_are_refused(part, arguments, message):
    parts = {
        "layer": lambda: keras.layers.Dense(2),
        "encoder": small_encoder,
        "predictor": lambda: small_predictor("none"),
        "model": world_model,
    }
    with pytest.raises(ValueError, match=message):
        flops_per_image(parts[part](), **arguments)


def test_prefix_tokens_and_gates_are_counted():
    plain = flops_per_image(small_encoder())
    gated = flops_per_image(small_encoder(gated_mlp=True))
    assert gated - plain == 3 * 2 * 24 * 40 * 56
    blocks = plain - 2 * 24 * 48 * 40
    prefixed = flops_per_image(small_encoder(num_prefix_tokens=24))
    # Twice the tokens, and four times the pairs of them.
    pairs = 3 * 2 * 2 * 24 * 24 * 40
    assert prefixed - plain == blocks + 2 * pairs
