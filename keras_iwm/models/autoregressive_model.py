"""Continuous autoregression over patches."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_count, as_object, as_optional
from keras_iwm.backbones.causal_encoder import CausalEncoder
from keras_iwm.backbones.presets import PRESETS
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.heads.fitting_head import fitting_head
from keras_iwm.layers.patch_pixels import normalize_patches, patch_pixels
from keras_iwm.layers.pixel_statistics import normalize_pixels
from keras_iwm.layers.sincos_positions import sincos_positions
from keras_iwm.models.image_generation import ImageGeneration
from keras_iwm.models.preset_arguments import preset_arguments
from keras_iwm.models.pretraining_model import PretrainingModel, check_facts
from keras_iwm.type_aliases import Array, Config, Tensor
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.sequence_draws import SequenceDraws
from keras_iwm.views.view_generator import ViewGenerator


@keras.saving.register_keras_serializable(package="keras_iwm")
class AutoregressiveModel(ImageGeneration, PretrainingModel):
    """Predict the pixels of every patch from the patches before it in an order.

    The encoder sees an image's patches one after another through a `CausalEncoder`: a
    start token, then each patch but the last, none of which sees a later one. To what
    it says at each place, the position of the patch that comes next is added, so that
    any order works, and a head makes the patch of it: by squared error (autoregressive
    image models, arXiv 2401.08541), or by taking noise away, see `keras_iwm.heads`.

    What a user takes away is `feature_encoder`, the encoder with full attention;
    `causal_encoder` has the same weights and causal attention, as they were trained.
    Both go wherever features are made, also in a `LastBlocks`.

    It departs from the paper: a start token predicts the first patch, the encoder is
    that of this library, and the head is smaller.

    Args:
        encoder: `ViTEncoder` of two patches or more, without prefix tokens.
        head: Layer that is called with conditions and targets and returns
            `"prediction"` and `"target"`, such as a `SquaredErrorHead` with the
            encoder's `hidden_dim` as its `condition_dim`.
        view_generator: `ViewGenerator` for the encoder's images; no mask is needed.
            Where views differ the source view is learned from.
        order: Name of an order or a permutation of the patches, see `patch_order`.
            `"random"` is drawn anew for each image and step in training; in inference
            mode its draws are the same at every call, `causal_encoder` makes features
            in raster order, and `generate` draws an order for each image.
        prefix_attention: Boolean. If `True`, the first patches of each image, from 1 to
            all but one, attend to each other freely, and the loss is the mean over
            those behind them: on several replicas, the mean of their means. An encoder
            that has met full attention makes better features with it.
        normalize_targets: Boolean, whether each patch is normalised by its own mean and
            deviation before it is predicted, which makes better features. `False`, the
            pixels normalised as the encoder's input is, is for `generate`.
        seed: Optional integer, seed of random orders and of prefixes.
        num_classes: Optional integer, see `PretrainingModel`.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Images, or a dictionary of views as the view generator makes it.
        training: Boolean.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors as of the head,
        `(batch_size, num_patches, patch_dim)`, in the order; with prefix attention
        `"weights"`, 1 behind the prefix and 0 in it; and `"probe_logits"` if there is a
        probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name.

    Example:

    ```python
    model = keras_iwm.models.AutoregressiveModel.from_preset(
        "autoregressive_tiny_32", load_weights=False, order="spiral"
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.05))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    latents = model.encoder.predict(images)  # (16, 16, 96)
    causal = model.causal_encoder.predict(images)  # (16, 16, 96)
    ```
    """

    preset_prefixes = ("autoregressive_",)

    def __init__(
        self,
        encoder: ViTEncoder,
        head: keras.layers.Layer,
        view_generator: ViewGenerator,
        order: str | Array = "raster",
        prefix_attention: bool = False,
        normalize_targets: bool = True,
        seed: int | None = None,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        needed = ("condition_dim", "patch_dim", "sample")
        as_object("head", head, needed, "a head such as a SquaredErrorHead")
        super().__init__(encoder, view_generator, num_classes, **kwargs)
        patch_dim = encoder.patch_size**2 * encoder.num_channels
        check_facts(
            ("head.condition_dim", head.condition_dim, encoder.hidden_dim),
            ("head.patch_dim", head.patch_dim, patch_dim),
        )
        if encoder.num_patches < 2:
            raise ValueError(
                "`encoder` must have two patches or more, to predict one from another. "
                f"Received one of {encoder.num_patches}. Choose a smaller `patch_size`."
            )
        self.head = head
        self.prefix_attention = as_boolean("prefix_attention", prefix_attention)
        self.normalize_targets = as_boolean("normalize_targets", normalize_targets)
        self.causal_encoder = CausalEncoder(encoder, order, name="causal_encoder")
        self.order = self.causal_encoder.order
        self.seed = as_optional(as_count, "seed", seed, -(2**63))
        self.sequence_draws = SequenceDraws(
            self.causal_encoder.patch_ids,
            self.order == "random",
            self.prefix_attention,
            self.seed,
            name="sequence_draws",
        )
        # The mean of the patches behind the prefixes, where there are any.
        self.patch_loss = keras.losses.MeanSquaredError(
            reduction="mean_with_sample_weight", name="patch_loss", dtype="float32"
        )
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    @classmethod
    def from_encoder(
        cls,
        encoder: ViTEncoder,
        head: str | keras.layers.Layer = "squared_error",
        head_layers: int = 2,
        head_dim: int | None = None,
        crop: RandomResizedCrop | str | None = "default",
        order: str | Array = "raster",
        seed: int | None = None,
        **model_arguments: Any,
    ) -> "AutoregressiveModel":
        """Make an autoregressive model around an encoder: head and views that fit.

        Args:
            encoder: `ViTEncoder`, trained or not.
            head: `"squared_error"`, `"diffusion"`, `"denoising_steps"`, or a head that
                was made for the encoder.
            head_layers: Integer, blocks of a head that is named.
            head_dim: Optional integer, their width. Defaults to the encoder's.
            crop: Optional `RandomResizedCrop`, see `ViewGenerator`. By default one to
                40 to 100 % of the area, with a flip.
            order: See the class.
            seed: Optional integer, seed of all that is drawn.
            **model_arguments: `prefix_attention`, `normalize_targets`, `num_classes`,
                `name`.

        Returns:
            An `AutoregressiveModel`, which trains the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.ViTEncoder(
            image_size=32, patch_size=4, hidden_dim=64, num_layers=2, num_heads=2
        )
        model = keras_iwm.models.AutoregressiveModel.from_encoder(
            encoder, order="morton", prefix_attention=True
        )
        ```
        """
        needed = ("image_size", "patch_size", "num_channels", "hidden_dim")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        if isinstance(crop, str) and crop == "default":
            crop = RandomResizedCrop(encoder.image_size, scale=(0.4, 1.0))
        view_generator = ViewGenerator(
            encoder.image_size,
            actions=(),
            crop=crop,
            num_channels=encoder.num_channels,
            value_range=encoder.value_range,
            seed=seed,
            name="view_generator",
        )
        if isinstance(head, str):
            head = fitting_head(encoder, head, head_layers, head_dim, seed)
        return cls(encoder, head, view_generator, order, seed=seed, **model_arguments)

    @classmethod
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        sizes = PRESETS[preset]["head"]
        arguments = {"head": "squared_error", **arguments}
        return {
            "head_layers": sizes["num_layers"],
            "head_dim": sizes["hidden_dim"],
            **preset_arguments(preset, arguments),
        }

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Predict all patches of views, or of views made from images."""
        views = self.make_views(inputs, training)
        images = ops.convert_to_tensor(views[self.view_generator.keys[0]])
        sequence = self.sequence_draws(images, training=training)
        outputs, latents = self.predict_patches(images, *sequence, training)
        return {**outputs, **self.probe_outputs(latents)}

    def predict_patches(
        self,
        images: Tensor,
        patch_ids: Tensor,
        prefix_lengths: Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[dict[str, Any], Tensor]:
        """Predict the patches of images in an order, each from those before it.

        Args:
            images: Tensor of images of the model's `image_size`, in its `value_range`.
            patch_ids: Integer tensor of shape `(batch_size, num_patches)`, the order.
            prefix_lengths: Optional integer tensor of shape `(batch_size,)`, see
                `CausalEncoder.encode_sequence`.
            training: Boolean.

        Returns:
            Dictionary of the head's outputs, with `"weights"` if there are prefixes,
            and the latents, of shape `(batch_size, num_patches, hidden_dim)`.
        """
        latents = self.causal_encoder.encode_sequence(
            images, patch_ids[:, :-1], prefix_lengths, training=training
        )
        targets = ops.take_along_axis(
            self.target_patches(images), patch_ids[..., None], axis=1
        )
        conditions = self.conditions(latents, patch_ids)
        outputs = dict(self.head(conditions, targets, training=training))
        if prefix_lengths is not None:
            behind = ops.arange(self.num_patches) >= prefix_lengths[:, None]
            # A head may see each patch several times.
            shape = ops.shape(outputs["prediction"])[:-1]
            behind = ops.reshape(behind, (*shape[:2], *[1] * (len(shape) - 2)))
            outputs["weights"] = ops.cast(ops.broadcast_to(behind, shape), "float32")
        return outputs, latents

    def target_patches(self, images: Tensor) -> Tensor:
        """What is to be predicted of images, row by row of the grid."""
        encoder = self.encoder
        if self.normalize_targets:
            return normalize_patches(patch_pixels(images, encoder.patch_size))
        statistics = (encoder.value_range, encoder.mean, encoder.std)
        return patch_pixels(normalize_pixels(images, *statistics), encoder.patch_size)

    def conditions(self, latents: Tensor, patch_ids: Tensor) -> Tensor:
        """What the head is told: latents, and where the patches are that come next."""
        positions = sincos_positions(self.encoder.grid_size, self.encoder.hidden_dim)
        positions = ops.take(ops.convert_to_tensor(positions), patch_ids, axis=0)
        return ops.cast(latents, "float32") + positions

    def method_loss(self, outputs: dict[str, Any]) -> Tensor:
        """Return the mean squared difference of prediction and target."""
        return self.patch_loss(
            outputs["target"], outputs["prediction"], outputs.get("weights")
        )

    def forward_passes(self) -> list[tuple[Any, Config]]:
        """Say what runs for one image of a batch in training."""
        rows = self.num_patches * getattr(self.head, "num_noise_levels", 1)
        # The start token takes the place of the last patch.
        return [(self.encoder, {}), (self.head, {"rows": rows})]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "order": self.order,
            "prefix_attention": self.prefix_attention,
            "normalize_targets": self.normalize_targets,
            "seed": self.seed,
        }
