"""What the tests of all public classes run over: configs, and models with weights.

A new class is one line of `EXAMPLES`, and with weights one of `MODELS`.
"""

import functools

import keras
import numpy as np
from keras import ops

from keras_iwm import (
    actions,
    backbones,
    downstream,
    evaluation,
    heads,
    layers,
    metrics,
    models,
    optimizers,
    views,
)
from keras_iwm.layers import TokenDense

BACKBONE = downstream.WorldModelBackbone(
    backbones.ViTEncoder((16, 24), 4, 16, 1, 2, name="encoder"),
    backbones.WorldModelPredictor((4, 6), 16, 12, 1, 2, name="predictor"),
    "end_to_end",
    random_predictor=True,
)
EXAMPLES = [
    actions.Brightness(0.3, probability=0.5),
    actions.Contrast(0.3, probability=0.5),
    actions.Saturation(0.3, probability=0.5),
    actions.Hue(0.2, probability=0.5),
    actions.ColorJitter(0.1, 0.2, 0.3, 0.05, probability=0.7, strength=1.5),
    actions.Grayscale(probability=0.4),
    actions.GaussianBlur((0.3, 0.9), probability=0.4),
    actions.Solarization(0.6, probability=0.4),
    actions.ChannelGain(4, 0.3, probability=0.5),
    actions.ChannelOffset(4, 0.3, probability=0.5),
    actions.ChannelDropout(4, probability=0.5),
    actions.Flip(probability=0.5),
    actions.Rotation(20.0, probability=0.5),
    actions.RelativeCrop((0.5, 0.9), probability=0.5),
    actions.TransformChain([actions.Brightness(0.3), actions.Hue()], 0.5),
    actions.ActionSpace([actions.Hue(0.2)], [actions.Grayscale(0.5)]),
    views.RandomResizedCrop((16, 24), (0.4, 0.9), (0.8, 1.2), 0.3),
    layers.TokenDense(7, activation="relu", use_bias=False),
    layers.TokenNorm(epsilon=1e-5),
    layers.PatchEmbedding(4, 12),
    layers.TubeletEmbedding(3, 4, 12),
    layers.SelfAttention(3, "zeros", use_key_bias=True),
    layers.TransformerBlock(
        2, 9, block_index=3, drop_path_rate=0.1, remat=True, use_key_bias=True
    ),
    layers.TransformerBlock(2, 9, epsilon=1e-5, layer_scale=0.1, gated_mlp=True),
    layers.ActionTokens(12),
    layers.ActionFeatures(12),
    layers.AttentivePooling(3),
    layers.SlicedGaussianRegularizer(0.2, 8, 5),
    layers.VarianceCovarianceRegularizer(0.5, 0.1),
    heads.DiffusionHead(12, 20, 8, 1, "clean", 2, (0.03, 1), 5),
    heads.DenoisingStepsHead(12, 20, 8, 1, 5, 2, 5),
    heads.SquaredErrorHead(12, 20, 8, 3),
    views.MultiBlockMask((5, 6), num_blocks=3, scale=(0.1, 0.15), num_context=10),
    views.MultiBlockMask(
        (9, 9), aspect_ratio=(0.8, 1.2), separate_blocks=True, num_candidates=2
    ),
    views.RandomMask((5, 6), ratio=0.6),
    views.QuadrantMask((5, 6)),
    views.VideoBlockMask(
        *((2, 5, 6), 3, (0.2, 0.3), (0.8, 1.2)), num_context=10, num_candidates=2
    ),
    views.ClipViewGenerator(
        *((20, 24), 4, [views.VideoBlockMask((2, 5, 6))]),
        crop=views.RandomResizedCrop((20, 24)),
        num_channels=2,
        value_range=(-1, 1),
        seed=4,
    ),
    views.ViewGenerator(
        16, views.MultiBlockMask(4), actions=(), crop=None, num_channels=2
    ),
    views.ViewGenerator(
        (20, 24),
        views.MultiBlockMask((5, 6)),
        actions=actions.ActionSpace([actions.Hue(0.2)], [actions.Grayscale(0.5)]),
        value_range=(-1, 1),
        seed=4,
    ),
    views.TwoViewGenerator(
        *((16, 24), [[actions.Hue(0.2)], [actions.Grayscale(0.5)]]),
        crop=views.RandomResizedCrop((16, 24)),
        value_range=(-1, 1),
        seed=4,
    ),
    views.TwoViewGenerator((16, 24), crop=None, num_channels=2),
    backbones.ViTEncoder(
        (16, 24), 4, 16, 1, 2, 20, 0.1, (0, 1), num_channels=2, mean=0.4, remat=True
    ),
    backbones.ViTEncoder(
        *((16, 24), 4, 16, 1, 2),
        **{"positions": "learned", "epsilon": 1e-5, "num_prefix_tokens": 2},
        **{"layer_scale": 0.1, "gated_mlp": True},
    ),
    backbones.VideoEncoder(
        *((16, 24), 4, 24, 1, 2, 6, 3), positions="uniform_power", num_channels=2
    ),
    backbones.VideoEncoder(16, 4, 24, 1, 2, 4, positions="rotary"),
    backbones.CausalEncoder(
        backbones.ViTEncoder((8, 12), 4, 16, 1, 2), order=[5, 0, 3, 1, 2, 4]
    ),
    backbones.LastBlocks(backbones.ViTEncoder((8, 12), 4, 16, 1, 2), num_last=1),
    backbones.DynamicsPredictor(
        *((4, 6), 16, 12, 1, 2, 3, 2, 5, 20), drop_path_rate=0.1, remat=True
    ),
    backbones.WorldModelPredictor(
        (4, 6), 16, 12, 1, 2, 20, 5, "sequence", drop_path_rate=0.1, remat=True
    ),
    backbones.WorldModelPredictor(
        (4, 6), 16, 12, 1, 2, positions="columns_first", output_dim=7, num_mask_tokens=2
    ),
    backbones.WorldModelPredictor(
        (2, 4, 6), 16, 12, 1, 2, positions="rotary_tiled", num_mask_tokens=2
    ),
    models.ImageWorldModel.from_preset(
        "iwm_tiny_32",
        latent_loss="smooth_l1",
        load_weights=False,
        seed=3,
        num_classes=4,
        ema_momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 10, 1.0),
    ),
    models.AutoregressiveModel.from_preset(
        *("autoregressive_tiny_32", False),
        **{"order": "random", "prefix_attention": True, "normalize_targets": False},
        **{"seed": 3, "num_classes": 4},
    ),
    models.LatentDynamicsModel.from_encoder(
        *(backbones.ViTEncoder(16, 8, 16, 1, 2, name="encoder"), ("one", "two")),
        **{"learning": "teacher", "rollout_steps": 1, "seed": 3},
        ema_momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 10, 1.0),
    ),
    models.PixelWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=3, num_classes=4
    ),
    models.TeacherFreeWorldModel.from_preset(
        *("iwm_tiny_32", False),
        regularizer=layers.VarianceCovarianceRegularizer(0.5, name="regularizer"),
        num_classes=4,
    ),
    models.VideoWorldModel.from_preset(
        *("vjepa_tiny_64", False),
        **{"image_size": 32, "num_frames": 4, "num_layers": 1, "predictor_layers": 1},
        **{"seed": 3, "num_classes": 4},
        ema_momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 10, 1.0),
    ),
    models.MaskedAutoencoder.from_preset(
        "mae_tiny_32", load_weights=False, seed=3, num_classes=4
    ),
    models.ContrastiveModel.from_preset(
        *("byol_tiny_32", False),
        projector_dims=(24, 16, 8),
        predictor_dims=(24, 8),
        temperature=0.1,
        seed=3,
        num_classes=4,
        ema_momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 10, 1.0),
    ),
    BACKBONE,
    downstream.LatentPredictor(BACKBONE.encoder, BACKBONE.predictor),
    downstream.ImageClassifier(BACKBONE, 5, head="linear"),
    downstream.MultiTaskModel(
        BACKBONE,
        {
            "one": downstream.AttentiveHead(5, 2),
            "two": downstream.LinearHead(3, per_patch=True),
        },
    ),
    downstream.AttentiveHead(5, 2),
    downstream.LinearHead(5),
    downstream.ImageSegmenter(BACKBONE, 5, head="attentive", ignore_label=255),
    downstream.LinearHead(5, per_patch=True),
    downstream.AttentiveHead(5, 2, per_patch=True),
    downstream.DeepLabHead(5, 16),
    metrics.MeanReciprocalRank(name="rank"),
    metrics.HitRate(5),
    metrics.MeanIntersectionOverUnion(4, ignore_label=255),
    evaluation.RetrievalBank(64, [actions.ColorJitter(probability=1.0)], seed=9),
    downstream.LinearProbeModel(6, 3),
    optimizers.AdamW(1e-2, keras.optimizers.schedules.CosineDecay(0.1, 9), 0.8, 0.95),
    optimizers.AdamW(learning_rate_multipliers={"^encoder/": 0.1}),
]


def make_encoder(**arguments):
    return backbones.ViTEncoder(16, 4, 16, 2, 2, name="encoder", **arguments)


def make_predictor(conditioning="feature", num_channels=3, **arguments):
    space = actions.ActionSpace.default((16, 16), num_channels)
    return backbones.WorldModelPredictor(
        *((4, 4), 16, 16, 2, 2),
        action_dim=space.action_dim,
        conditioning=conditioning,
        name="predictor",
        **arguments,
    )


def make_world_model(conditioning="feature", **arguments):
    return models.ImageWorldModel.from_encoder(
        make_encoder(**arguments), conditioning=conditioning, ema_momentum=0.9, seed=0
    )


def make_autoregressive(**arguments):
    return models.AutoregressiveModel.from_encoder(
        make_encoder(**arguments),
        **{"order": "random", "prefix_attention": True, "seed": 0, "crop": None},
    )


def make_masked_autoencoder(**arguments):
    encoder = make_encoder(**arguments)
    return models.MaskedAutoencoder.from_encoder(encoder, predictor_layers=2, seed=0)


def make_video_model(**arguments):
    encoder = backbones.VideoEncoder(
        *(16, 4, 16, 2, 2), num_frames=4, name="encoder", **arguments
    )
    counts = {"num_context": 6, "num_targets": 4}
    masks = [
        views.VideoBlockMask((2, 4, 4), name="short_mask", **counts),
        views.VideoBlockMask((2, 4, 4), 2, (0.5, 0.5), name="long_mask", **counts),
    ]
    return models.VideoWorldModel.from_encoder(
        encoder, masks=masks, crop=None, ema_momentum=0.9, seed=0
    )


def make_contrastive_model(**arguments):
    return models.ContrastiveModel.from_encoder(
        make_encoder(**arguments),
        projector_dims=(24, 24, 8),
        predictor_dims=(24, 8),
        ema_momentum=0.9,
        seed=0,
    )


def make_dynamics(**arguments):
    return models.LatentDynamicsModel.from_encoder(
        make_encoder(**arguments), 3, learning="teacher", ema_momentum=0.9
    )


def make_backbone(protocol="end_to_end", **arguments):
    predictor = make_predictor(**arguments)
    return downstream.WorldModelBackbone(make_encoder(**arguments), predictor, protocol)


def make_classifier(**arguments):
    return downstream.ImageClassifier(make_backbone(**arguments), 2)


def make_segmenter(**arguments):
    return downstream.ImageSegmenter(make_backbone(**arguments), 2, "attentive")


def make_multi_task(**arguments):
    heads = {
        "one": downstream.AttentiveHead(2, 2),
        "two": downstream.LinearHead(2, per_patch=True),
    }
    return downstream.MultiTaskModel(make_backbone(**arguments), heads)


# Each takes the arguments of a `ViTEncoder`.
MODELS = {
    "encoder": make_encoder,
    "predictor": make_predictor,
    "feature": make_world_model,
    "sequence": functools.partial(make_world_model, "sequence"),
    "none": functools.partial(make_world_model, "none"),
    "autoregressive": make_autoregressive,
    "masked_autoencoder": make_masked_autoencoder,
    "contrastive": make_contrastive_model,
    "video": make_video_model,
    "dynamics": make_dynamics,
    "backbone": make_backbone,
    "classifier": make_classifier,
    "segmenter": make_segmenter,
    "multi_task": make_multi_task,
}


def make(name, **arguments):
    """Make a model whose weights are the same at each call, and none of them zero."""
    model = MODELS[name](**arguments)
    fill(model)
    return model


def fill(model):
    draws = np.random.default_rng(7)
    for weight in model.weights:
        value = draws.normal(0, 0.15, weight.shape) + ("gamma" in weight.path)
        weight.assign(value.astype("float32"))


def images(num_channels=3, size=16):
    draws = np.random.default_rng(size)
    return draws.integers(0, 256, (4, size, size, num_channels), "uint8")


def inputs_of(name, num_channels=3):
    """Arguments of a call. Views are given, so that none are drawn."""
    draws = np.random.default_rng(1)
    pictures = images(num_channels)
    action_dim = actions.ActionSpace.default((16, 16), num_channels).action_dim
    action = draws.normal(size=(4, action_dim)).astype("float32")
    context_ids = np.tile(np.arange(6, dtype="int32"), (4, 1))
    target_ids = np.tile(np.arange(8, 12, dtype="int32"), (4, 1))
    if name == "predictor":
        latents = draws.normal(size=(4, 6, 16)).astype("float32")
        return latents, context_ids, target_ids, action
    if name == "masked_autoencoder":
        action = action[:, :0]
    if name in ("feature", "sequence", "none", "masked_autoencoder"):
        view = {
            "source": pictures.astype("float32"),
            "target": pictures[::-1].astype("float32"),
            "action": action,
            "context_ids": context_ids,
            "target_ids": target_ids,
        }
        return (view,)
    if name == "video":
        clips = np.stack([pictures, pictures[::-1]] * 2, axis=1).astype("float32")
        ids = {"context_ids": context_ids, "target_ids": target_ids[:, :4]}
        ids["target_ids"] = ids["target_ids"] + 16
        return ({"clips": clips, **{key: (part,) * 2 for key, part in ids.items()}},)
    if name == "contrastive":
        view = {"first": pictures, "second": pictures[::-1]}
        return ({key: images.astype("float32") for key, images in view.items()},)
    if name == "dynamics":
        frames = np.stack([pictures, pictures[::-1], pictures], axis=1)
        moves = draws.uniform(-1, 1, (4, 2, 3)).astype("float32")
        return ({"frames": frames, "actions": moves},)
    if name == "multi_task":
        return ({"one": pictures, "two": pictures},)
    return (pictures,)


def outputs_of(name, model, training=False, num_channels=3):
    """Outputs for the same inputs each time, as flat float32."""
    outputs = model(*inputs_of(name, num_channels), training=training)
    return np.concatenate([np.ravel(v) for v in values(keras.tree.flatten(outputs))])


def values(variables):
    return [ops.convert_to_numpy(ops.cast(v, "float32")).copy() for v in variables]


def data_of(name):
    """What `fit` and `evaluate` take: inputs, and targets if the model has any."""
    labels = np.arange(4) % 2
    masks = np.repeat(labels, 256).reshape(4, 16, 16)
    targets = {
        "encoder": np.ones((4, 16, 16)),
        "backbone": np.ones((4, 16, 16)),
        "classifier": labels,
        "segmenter": masks,
        "multi_task": {"one": labels, "two": masks},
    }
    return inputs_of(name)[0], targets.get(name)


def compile_model(name, model):
    """Compile with the optimizer, and with a loss where the model has none."""
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {
        **dict.fromkeys(("encoder", "predictor", "backbone"), "mse"),
        "multi_task": {"one": entropy, "two": entropy},
    }
    loss = {"loss": losses[name]} if name in losses else {}
    model.compile(optimizers.AdamW(1e-3), **loss)


def fit(name, model, epochs=1, **arguments):
    inputs, targets = data_of(name)
    return model.fit(
        inputs,
        targets,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        **arguments,
    )


def encoders_and_predictors(model):
    """The parts of a model that have blocks, without those that never learn."""
    parts = (
        *(backbones.ViTEncoder, backbones.WorldModelPredictor),
        backbones.DynamicsPredictor,
    )
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, parts) and not layer.name.startswith("target_")
    ]


def block_denses(model):
    return [
        layer
        for part in encoders_and_predictors(model)
        for block in part.blocks
        for layer in block._flatten_layers()
        if isinstance(layer, TokenDense)
    ]


def leave(model):
    """Change nothing."""


def freeze(model):
    """Freeze the first layer and the first block of each part."""
    for part in encoders_and_predictors(model):
        first = "patch_embedding" if hasattr(part, "patch_embedding") else "norm"
        getattr(part, first).trainable = False
        part.blocks[0].trainable = False


def enable_lora(model):
    """Give every dense layer of the blocks low-rank updates that are not zero."""
    for layer in block_denses(model):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(layer.lora_kernel_b + 0.1)


def freeze_and_enable_lora(model):
    enable_lora(model)
    freeze(model)


def quantize(model):
    """Quantise every dense layer of the blocks."""
    for part in encoders_and_predictors(model):
        part.quantize("int8", type_check=False)


CHANGES = (leave, freeze_and_enable_lora, quantize)
