"""What a downstream model takes its latents from."""

from typing import Any, Literal, Self

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_boolean, as_choice, as_number, as_object
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.type_aliases import Config, Tensor

PROTOCOLS = ("frozen", "encoder", "predictor", "end_to_end")


@keras.saving.register_keras_serializable(package="keras_iwm")
class WorldModelBackbone(ComposedModel):
    """Turn images into patch latents with a pretrained world model, or a part of it.

    The `protocol` says which part is used and which part learns:

    | protocol | encoder | predictor | latents |
    |---|---|---|---|
    | `"frozen"` | frozen | dropped | the encoder's: probes |
    | `"encoder"` | learns | dropped | the encoder's: ordinary finetuning |
    | `"predictor"` | frozen | learns | the predictor's |
    | `"end_to_end"` | learns | learns | the predictor's |

    The predictor gets the latents of the whole image, the null action, and mask
    tokens at all positions, as in predictor finetuning (image world models, arXiv
    2403.00504, section 5). The world model that was pretrained is thus reused, at a
    fraction of the encoder's cost.

    Make it with `from_world_model`. Put a head on it:
    `keras_iwm.downstream.ImageClassifier`, `ImageSegmenter` or `MultiTaskModel`.

    Args:
        encoder: `ViTEncoder`. It is not copied.
        predictor: `WorldModelPredictor` for the encoder's latents; needed by the
            protocols `"predictor"` and `"end_to_end"` and refused by the others.
        protocol: One of `"frozen"`, `"encoder"`, `"predictor"`, `"end_to_end"`.
        random_predictor: Boolean, whether the predictor was not pretrained: then
            `finetuning_recipe` lets it learn as fast as the head.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` in the
            encoder's `value_range`. Another size than the encoder's `image_size` is
            taken, a multiple of its patch size: positions are resampled.
        training: Boolean, whether to drop paths in what learns.
        task_token: Optional tensor of shape `(batch_size, predictor_dim)` that joins
            the predictor's sequence.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)`, the encoder's
        `hidden_dim` or, of a predictor, its `output_dim`.

    Raises:
        ValueError: If the protocol is unknown, or the predictor is missing or does
            not fit.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    backbone = keras_iwm.downstream.WorldModelBackbone.from_world_model(
        model, protocol="predictor"
    )
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    latents = backbone(images)  # (4, 16, 96)
    ```
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        predictor: WorldModelPredictor | None = None,
        protocol: Literal["frozen", "encoder", "predictor", "end_to_end"] = "predictor",
        random_predictor: bool = False,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        uses_predictor = check_protocol(protocol, random_predictor)
        if uses_predictor and predictor is None:
            raise ValueError(
                f"Protocol {protocol!r} needs a `predictor`. Received None. Give the "
                "one that the encoder was pretrained with, or choose protocol "
                "'encoder' or 'frozen'."
            )
        if not uses_predictor and predictor is not None:
            raise ValueError(
                f"Protocol {protocol!r} has no use for a `predictor`. Leave it out, or "
                "choose protocol 'predictor' or 'end_to_end'."
            )
        needed = ("grid_size", "hidden_dim", "patch_size")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        if uses_predictor:
            needed = ("grid_size", "hidden_dim", "action_dim", "output_dim")
            as_object("predictor", predictor, needed, "a WorldModelPredictor")
        if uses_predictor and (predictor.grid_size, predictor.hidden_dim) != (
            encoder.grid_size,
            encoder.hidden_dim,
        ):
            raise ValueError(
                "`predictor` must have the encoder's grid and width, "
                f"{encoder.grid_size} and {encoder.hidden_dim}. Received: "
                f"{predictor.grid_size} and {predictor.hidden_dim}."
            )
        self.encoder = encoder
        self.predictor = predictor
        self.protocol = protocol
        self.random_predictor = bool(random_predictor)
        self.built = True
        # Not through the setter, which TensorFlow skips if the value stays the same.
        self._freeze_encoder()
        if not trainable:
            self.trainable = False

    @classmethod
    def from_world_model(
        cls,
        model: keras.Model,
        protocol: Literal["frozen", "encoder", "predictor", "end_to_end"] = "predictor",
        random_predictor: bool = False,
        drop_path_rate: float = 0.0,
    ) -> Self:
        """Make a backbone from copies of a pretrained model's parts.

        The encoder is a copy of the model's `feature_encoder` (of a world model the
        teacher), in every protocol. The pretrained model itself is not changed by what
        is done to the backbone. What was frozen inside a part, quantised or given
        low-rank updates is so in its copy too.

        Args:
            model: A pretrained model with a `feature_encoder`, and for the protocols
                with predictor a `predictor`, such as `ImageWorldModel`; or an encoder.
            protocol: One of `"frozen"`, `"encoder"`, `"predictor"`, `"end_to_end"`.
            random_predictor: Boolean. If `True`, the predictor is initialised anew:
                the control that shows what its pretraining is worth.
            drop_path_rate: Float in [0, 1), of the parts that learn.

        Returns:
            A `WorldModelBackbone`.

        Raises:
            ValueError: If the protocol needs a predictor and the model has none.
        """
        uses_predictor = check_protocol(protocol, random_predictor)
        encoder = getattr(model, "feature_encoder", model)
        if not hasattr(encoder, "hidden_dim"):
            raise ValueError(
                "`model` must be a pretrained model with a `feature_encoder`, or an "
                f"encoder. Received: {type(model).__name__}."
            )
        drop_path_rate = as_number("drop_path_rate", drop_path_rate, 0.0, 0.99)
        if uses_predictor and getattr(model, "predictor", None) is None:
            raise ValueError(
                f"Protocol {protocol!r} needs a world model with its predictor. "
                f"Received: {type(model).__name__}, which has none. Load the whole "
                "world model, or choose protocol 'encoder' or 'frozen'."
            )
        parts = {"encoder": encoder}
        if uses_predictor:
            parts["predictor"] = model.predictor
        copies = {}
        for name, part in parts.items():
            config = part.get_config()
            learns = protocol in (name, "end_to_end")
            config.update(
                name=name,
                trainable=True,
                drop_path_rate=drop_path_rate if learns else 0.0,
            )
            copies[name] = type(part).from_config(config)
            if name == "encoder" or not random_predictor:
                copies[name].set_weights(part.get_weights())
        return cls(**copies, protocol=protocol, random_predictor=random_predictor)

    @property
    def hidden_dim(self) -> int:
        """Features of the latents."""
        if self.predictor is None:
            return self.encoder.hidden_dim
        return self.predictor.output_dim

    @property
    def trainable(self) -> bool:
        """Whether the parts learn that the protocol lets learn."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        if hasattr(self, "protocol"):
            self._freeze_encoder()

    def _freeze_encoder(self):
        """Freeze the encoder again, unless the protocol lets it learn."""
        if self.protocol in ("frozen", "predictor"):
            self.encoder.trainable = False

    @property
    def input_signature(self) -> list[Any]:
        """What `call` takes, for `export`."""
        return self.encoder.input_signature

    def call(
        self,
        images: Tensor,
        training: bool | None = None,
        task_token: Tensor | None = None,
    ) -> Tensor:
        """Encode the images, and predict all their latents if there is a predictor."""
        images = ops.convert_to_tensor(images)
        learns = self.protocol in ("encoder", "end_to_end")
        latents = self.encoder(images, training=training if learns else False)
        if not learns:
            latents = ops.stop_gradient(latents)
        if self.predictor is None:
            return latents
        ids = all_positions(latents)
        return self.predictor(
            latents,
            ids,
            ids,
            ops.zeros((ops.shape(latents)[0], self.predictor.action_dim)),
            training=training,
            extra_tokens=None if task_token is None else task_token[:, None],
            grid_size=self.encoder.grid_of(images.shape),
        )

    def compute_output_spec(
        self,
        images: Tensor,
        training: bool | None = None,
        task_token: Tensor | None = None,
    ) -> Tensor:
        """Return the latents as a symbolic tensor."""
        latents = self.encoder.compute_output_spec(images)
        shape = (*latents.shape[:2], self.hidden_dim)
        last = self.predictor or self.encoder
        return keras.KerasTensor(shape, dtype=last.compute_dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "predictor": self.predictor and serialize(self.predictor),
            "protocol": self.protocol,
            "random_predictor": self.random_predictor,
        }


def all_positions(latents):
    """Return the ids of all patches of each image.

    Args:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Returns:
        Int32 tensor of shape `(batch_size, num_patches)`.
    """
    batch_size, num_patches = ops.shape(latents)[0], latents.shape[1]
    ids = ops.convert_to_tensor(np.arange(num_patches, dtype="int32")[None])
    return ops.broadcast_to(ids, (batch_size, num_patches))


def check_protocol(protocol, random_predictor):
    """Refuse an unknown protocol; return whether it uses a predictor.

    Args:
        protocol: String, or what else the user gave.
        random_predictor: Boolean, whether the predictor is said to be random.

    Returns:
        Boolean.

    Raises:
        ValueError: If the protocol is unknown, or knows no predictor to be random.
    """
    protocol = as_choice("protocol", protocol, PROTOCOLS)
    random_predictor = as_boolean("random_predictor", random_predictor)
    uses_predictor = protocol in ("predictor", "end_to_end")
    if random_predictor and not uses_predictor:
        raise ValueError(
            f"Protocol {protocol!r} uses no predictor, so `random_predictor` must be "
            "False."
        )
    return uses_predictor
