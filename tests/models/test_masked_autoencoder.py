import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backbones import PRESETS, ViTEncoder, WorldModelPredictor
from keras_iwm.models import MaskedAutoencoder
from keras_iwm.optimizers import AdamW, pretraining_recipe
from keras_iwm.views import RandomMask, ViewGenerator

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="elsewhere every operation is compiled"
)


def make_model(seed=3, num_layers=1, **arguments):
    encoder = ViTEncoder(16, 4, 32, num_layers, 2, name="encoder", **arguments)
    return MaskedAutoencoder.from_encoder(
        encoder, predictor_layers=1, predictor_dim=32, seed=seed
    )


def waves(count, size=16, seed=0):
    """Images of plane waves: what is hidden follows from a little of what is seen."""
    rng = np.random.default_rng(seed)
    angle, phase = rng.uniform(0, np.pi, (2, count, 1, 1))
    y, x = np.mgrid[:size, :size] / size
    wave = np.sin(9 * (np.cos(angle) * x + np.sin(angle) * y) + 2 * phase)
    return (127.5 + 100 * wave[..., None] * [1.0, 0.8, 0.6]).astype("uint8")


@on_torch
def test_views_are_crops_with_flip_three_quarters_hidden_and_no_action():
    model = make_model()
    views, mask = model.view_generator, model.view_generator.mask
    assert isinstance(mask, RandomMask)
    assert (mask.num_context, mask.num_targets) == (4, 12)
    assert views.action_space.action_dim == 0
    assert (views.crop.scale, views.crop.flip_probability) == ((0.2, 1.0), 0.5)
    batch = views(waves(3), training=True)
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(batch[name]) for name in ("source", "target"))
    )
    ((encoder, seen), (predictor, counts)) = model.forward_passes()
    assert (encoder, predictor) == (model.encoder, model.predictor)
    assert seen == {"num_context": 4}
    assert counts == {"num_context": 4, "num_targets": 12, "num_blocks": 1}


def test_it_learns_what_is_hidden():
    keras.utils.set_random_seed(0)
    kinds = np.random.default_rng(5).integers(0, 256, (4, 8, 8, 3))

    def noisy(count, seed):
        """Images of four kinds: what is seen tells the kind, and so all the rest."""
        rng = np.random.default_rng(seed)
        images = kinds[rng.integers(0, 4, count)]
        images = images + rng.normal(0, 20, images.shape)
        return np.clip(images, 0, 255).astype("uint8")

    encoder = ViTEncoder(8, 4, 32, 1, 2, name="encoder")
    model = MaskedAutoencoder.from_encoder(
        encoder, predictor_layers=1, predictor_dim=32, crop=None, seed=3
    )
    recipe = pretraining_recipe(15 * 8, 64, learning_rate=1e-2)
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    model.fit(noisy(512, 0), batch_size=64, epochs=15, verbose=0)
    # Without a look at the image it is about 0.95, and nothing learned 1.3.
    assert model.evaluate(noisy(64, 1), batch_size=64, verbose=0) < 0.3


def test_saved_run_continues_exactly(tmp_path):
    images = waves(8)

    def fit(model, epochs, initial_epoch=0):
        model.fit(
            images, batch_size=4, epochs=epochs, initial_epoch=initial_epoch,
            shuffle=False, verbose=0,
        )  # fmt: skip

    def new_model():
        keras.utils.set_random_seed(4)
        model = make_model(drop_path_rate=0.3)
        model.compile(AdamW(1e-2))
        return model

    whole = new_model()
    fit(whole, 2)
    first = new_model()
    fit(first, 1)
    first.save(tmp_path / "run.keras")
    second = keras.models.load_model(tmp_path / "run.keras")
    assert isinstance(second, MaskedAutoencoder)
    fit(second, 2, initial_epoch=1)
    for one, two in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_perfect_predictions_reconstruct_the_image(monkeypatch):
    model = make_model(value_range=(0, 255), mean=0.4, std=0.3)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), "uint8")
    asked = {}

    def know(self, latents, context_ids, target_ids, training=None):
        asked.update(context_ids=context_ids, target_ids=target_ids)
        ids = ops.convert_to_tensor(target_ids)[..., None]
        # They are in units of the unbiased deviation.
        return ops.take_along_axis(model.targets_of(images), ids, axis=1)

    monkeypatch.setattr(WorldModelPredictor, "__call__", know)
    results = model.reconstruct(images, seed=1)
    np.testing.assert_allclose(results["reconstruction"], images, atol=1e-2)
    ids = [ops.convert_to_numpy(part) for part in asked.values()]
    both = np.sort(np.concatenate(ids, axis=1), axis=1)
    np.testing.assert_array_equal(both, np.tile(np.arange(16), (3, 1)))
    visible = results["visible"].reshape(3, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4)
    visible = visible.reshape(3, 16, 16)
    assert (visible == visible[..., :1]).all()
    for seen, context_ids in zip(visible[..., 0], ids[0], strict=True):
        assert set(np.flatnonzero(seen)) == set(context_ids)


@on_torch
def test_reconstructions_keep_what_is_seen_and_depend_on_the_seed():
    model, images = make_model(), waves(3).astype("float32")
    results = [model.reconstruct(images, seed) for seed in (0, 0, 1)]
    for result in results:
        pictures, visible = result["reconstruction"], result["visible"]
        assert visible.mean() == 0.25
        np.testing.assert_array_equal(pictures[visible], images[visible])
        assert np.abs(pictures - images)[~visible].max() > 1
        assert pictures.min() >= 0
        assert pictures.max() <= 255
    np.testing.assert_array_equal(results[0]["visible"], results[1]["visible"])
    assert (results[0]["visible"] != results[2]["visible"]).any()
    with pytest.raises(ValueError, match="`images` must be"):
        model.reconstruct(waves(2, size=20))


def test_actions_are_refused():
    model = make_model()
    views = ViewGenerator(16, RandomMask(4))
    with pytest.raises(ValueError, match="must know no action"):
        MaskedAutoencoder(model.encoder, model.predictor, views)


def numbers_of(model):
    """Weights of encoder and predictor by formula: kernels, biases, norms."""
    encoder, predictor = model.encoder, model.predictor

    def blocks(part, width):
        return part.num_layers * (12 * width**2 + 12 * width)

    values = encoder.patch_size**2 * encoder.num_channels
    width, inner = encoder.hidden_dim, predictor.predictor_dim
    return (
        (values + 1) * width + blocks(encoder, width) + 2 * width,
        (width + 1) * inner
        + inner  # the mask token
        + blocks(predictor, inner)
        + 2 * inner
        + (inner + 1) * values,
    )


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="only Torch counts without memory"
)
@pytest.mark.parametrize(
    ("preset", "encoder_count", "predictor_count"),
    [
        ("mae_tiny_32", 353_952, 475_200),
        ("mae_tiny_96", 5_484_096, 916_736),
        ("mae_base_224", 85_637_376, 26_004_224),
    ],
)
def test_presets_have_the_sizes_of_their_formula(
    preset, encoder_count, predictor_count
):
    with keras.device("meta"):
        size = PRESETS[preset]
        encoder = ViTEncoder(size["image_size"], size["patch_size"], **size["encoder"])
        predictor = WorldModelPredictor(
            encoder.grid_size,
            encoder.hidden_dim,
            **size["predictor"],
            conditioning="none",
            output_dim=MaskedAutoencoder.target_dim(encoder),
        )
    counts = (encoder.count_params(), predictor.count_params())
    assert counts == (encoder_count, predictor_count)
    if preset == "mae_base_224":
        # As published, 111,907,840, less what is not here: a class token, two tables of
        # fixed positions, biases of keys.
        missing = 768 + 197 * (768 + 512) + 12 * 768 + 8 * 512
        assert sum(counts) == 111_907_840 - missing
    if preset == "mae_tiny_32":
        model = MaskedAutoencoder.from_preset(preset, load_weights=False)
        assert numbers_of(model) == counts
        assert model.encoder.positions == model.predictor.positions == "columns_first"


def dense(layer, kernel="kernel"):
    return {kernel: layer.weight.T, "bias": layer.bias}


def norm(layer):
    return {"gamma": layer.weight, "beta": layer.bias}


def copy_blocks(layers, blocks):
    """Give blocks the weights of transformers' layers."""
    for theirs, block in zip(layers, blocks, strict=True):
        attention = theirs.attention
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        joint = [part.weight.T for part in (query, key, value)]
        own = block.attention
        assign(own.query_key_value, {"kernel": np.concatenate(joint, axis=1)})
        own.query_bias.assign(query.bias)
        own.value_bias.assign(value.bias)
        assign(own.output_projection, dense(attention.o_proj))
        assign(block.attention_norm, norm(theirs.layernorm_before))
        assign(block.mlp_norm, norm(theirs.layernorm_after))
        assign(block.mlp_hidden, dense(theirs.mlp.fc1))
        assign(block.mlp_output, dense(theirs.mlp.fc2))


def assign(layer, values):
    for name, value in values.items():
        getattr(layer, name).assign(np.asarray(value))


@on_torch
def test_prediction_and_loss_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.ViTMAEConfig(
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"intermediate_size": 24, "image_size": 16, "patch_size": 4},
        **{"decoder_hidden_size": 12, "decoder_num_hidden_layers": 1},
        **{"decoder_num_attention_heads": 3, "decoder_intermediate_size": 20},
        **{"norm_pix_loss": True, "layer_norm_eps": 1e-6, "mask_ratio": 0.75},
    )
    published = transformers.ViTMAEForPreTraining(config).eval()
    with torch.no_grad():
        # Making the model has left the positions at zero.
        projection = published.vit.embeddings.patch_embeddings.projection
        projection._is_hf_initialized = False
        published.vit.embeddings.initialize_weights()
        published.decoder.initialize_weights(16)
        for parameter in published.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    # Theirs, and an encoder with the class token.
    vit, decoder = published.vit, published.decoder
    for parameter in published.parameters():
        parameter.requires_grad = False
    encoder = ViTEncoder(
        *(16, 4, 16, 2, 2),
        **{"mlp_dim": 24, "positions": "columns_first", "num_prefix_tokens": 1},
    )
    predictor = WorldModelPredictor(
        *((4, 4), 16, 12, 1, 3),
        **{"mlp_dim": 20, "conditioning": "none", "positions": "columns_first"},
        output_dim=48,
    )
    views = ViewGenerator(16, RandomMask(4), actions=())
    model = MaskedAutoencoder(encoder, predictor, views)
    kernel = vit.embeddings.patch_embeddings.projection.weight  # (out, in, y, x)
    projection = encoder.patch_embedding.projection
    projection.kernel.assign(kernel.permute(2, 3, 1, 0).reshape(48, 16).numpy())
    projection.bias.assign(vit.embeddings.patch_embeddings.projection.bias.numpy())
    encoder.position_embedding.prefix_tokens.assign(vit.embeddings.cls_token[0].numpy())
    copy_blocks(vit.layers, encoder.blocks)
    assign(encoder.norm, norm(vit.layernorm))
    assign(predictor.input_projection, dense(decoder.decoder_embed))
    predictor.mask_token.assign(decoder.mask_token[0, 0].numpy())
    copy_blocks(decoder.decoder_layers, predictor.blocks)
    assign(predictor.norm, norm(decoder.decoder_norm))
    assign(predictor.output_projection, dense(decoder.decoder_pred))

    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    pixels = (images / 255 - encoder.mean) / np.array(encoder.std)
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2).astype("float32"))
    noise = np.random.default_rng(1).random((3, 16), "float32")
    theirs = published(pixels, noise=torch.tensor(noise))
    # Their decoder sees the class token too; here it joins as a further token.
    latents = vit(pixels, noise=torch.tensor(noise)).last_hidden_state
    class_token = decoder.decoder_embed(latents[:, :1]).numpy()
    context_ids, target_ids = views.mask(noise)
    prediction = predictor(
        encoder(images, patch_ids=context_ids),
        context_ids,
        target_ids,
        extra_tokens=class_token,
    )
    ids = ops.convert_to_numpy(target_ids)[..., None]
    expected = np.take_along_axis(theirs.logits.numpy(), ids, axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(prediction), expected, atol=2e-5)
    targets = ops.convert_to_numpy(model.targets_of(images))
    target = np.take_along_axis(targets, ids, axis=1)
    loss = model.method_loss({"prediction": prediction, "target": target})
    np.testing.assert_allclose(float(loss), float(theirs.loss), rtol=1e-5)
