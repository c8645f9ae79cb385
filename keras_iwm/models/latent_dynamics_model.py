"""A model of what actions do over time."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from keras_iwm.arguments import as_choice, as_count, as_object, as_optional
from keras_iwm.backbones.dynamics_predictor import DynamicsPredictor
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.models.dynamics_batch import as_slots, parts_of
from keras_iwm.models.latent_dynamics import LatentDynamics
from keras_iwm.models.latent_regularization import LatentRegularization
from keras_iwm.models.preset_arguments import preset_arguments, with_predictor_sizes
from keras_iwm.models.pretraining_model import check_facts
from keras_iwm.models.teacher_student_model import TeacherStudentModel
from keras_iwm.type_aliases import Config, Rate, Tensor

LEARNING = ("frozen", "teacher", "teacher_free")


@keras.saving.register_keras_serializable(package="keras_iwm")
class LatentDynamicsModel(LatentDynamics, LatentRegularization, TeacherStudentModel):
    """Predict the latents of frames to come from the frames so far and the actions.

    An encoder makes latents of each frame alone; the predictor says, at every step,
    what the action makes of them (V-JEPA 2-AC, arXiv 2506.09985, section 3). The loss
    is the mean absolute difference from the latents of the next frame, with the true
    frames as the context (teacher forcing), and that of the first frames when
    predictions are fed back (rollout). All latents are normalised: inputs, targets and
    predictions.

    `fit` takes frames and actions, arrays that a user has of a robot, a camera or a
    game, as `(frames, actions)` from any pipeline, or as a dictionary with the keys
    `"frames"`, `"actions"` and, where there are any, `"states"`.

    Args:
        encoder: `ViTEncoder`, or a `VideoEncoder`, which sees each frame as a still.
        predictor: `DynamicsPredictor` for the frame's grid and the encoder's width.
        slots: Optional names of the numbers of an action. Defaults to `"slot_0"`, ...
        learning: How the encoder learns. `"frozen"`, not at all: it comes trained, and
            is frozen here. `"teacher"`: with the predictor, and the targets are those
            of a moving average of it. `"teacher_free"`: with the predictor, the targets
            are its own, and a `regularizer` stands against a collapse (LeWorldModel,
            arXiv 2603.19312).
        rollout_steps: Integer, frames that are predicted from the first one in the
            second part of the loss; 0 leaves it out.
        ema_momentum: Float in [0, 1] or schedule, see `TeacherStudentModel`. Of a
            teacher alone.
        regularizer: Optional layer, see `TeacherFreeWorldModel`, called with latents of
            all frames of a clip, `(batch_size, num_frames * num_patches, hidden_dim)`.
            Without a teacher alone, where it defaults to a `SlicedGaussianRegularizer`.
        seed: Optional integer, seed of the default regularizer.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Dictionary of `"frames"`, integer or float in the encoder's
            `value_range`, of shape `(batch_size, num_frames, height, width,
            num_channels)`; `"actions"`, floats of shape `(batch_size, num_frames - 1,
            action_dim)`, best within [-1, 1], the one at t leads from frame t to t + 1;
            and `"states"` of shape `(batch_size, num_frames, state_dim)` if the
            predictor has a `state_dim`. Or the tuple of them.
        training: Boolean.

    Returns:
        Dictionary of float32 tensors: `"prediction"` and `"target"` of shape
        `(batch_size, num_frames - 1, num_patches, hidden_dim)`, `"rollout"` of shape
        `(batch_size, rollout_steps, num_patches, hidden_dim)` if there is one, and
        without a teacher `"latents"`, those of all frames.

    Raises:
        ValueError: If the parts or inputs do not fit each other.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False, num_frames=4
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 4, 64, 64, 3), "uint8")
    actions = rng.uniform(-1, 1, (4, 3, 4)).astype("float32")
    model.fit(frames, actions, batch_size=2)
    latents = model.encode(frames)  # (4, 4, 64, 192)
    imagined = model.rollout(latents[:, :1], actions)  # (4, 3, 64, 192)
    ```
    """

    preset_prefixes = ("dynamics_",)

    def __init__(
        self,
        encoder: ViTEncoder,
        predictor: DynamicsPredictor,
        slots: Sequence[str] | None = None,
        learning: Literal["frozen", "teacher", "teacher_free"] = "frozen",
        rollout_steps: int = 2,
        ema_momentum: Rate = 0.996,
        regularizer: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        learning = as_choice("learning", learning, LEARNING)
        super().__init__(
            encoder,
            view_generator=None,
            ema_momentum=ema_momentum,
            has_teacher=learning == "teacher",
            **kwargs,
        )
        self.learning = learning
        if learning == "frozen":
            encoder.trainable = False
        needed = ("grid_size", "hidden_dim", "action_dim", "state_dim", "rollout")
        as_object("predictor", predictor, needed, "a DynamicsPredictor")
        check_facts(
            ("predictor.grid_size", predictor.grid_size, encoder.grid_size[-2:]),
            ("predictor.hidden_dim", predictor.hidden_dim, encoder.hidden_dim),
        )
        self.predictor = predictor
        self.slots = as_slots(predictor.action_dim if slots is None else slots)
        if len(self.slots) != predictor.action_dim:
            raise ValueError(
                f"`slots` must be {predictor.action_dim} names, as the predictor's "
                f"`action_dim`. Received: {self.slots}."
            )
        self.rollout_steps = as_count(
            "rollout_steps", rollout_steps, 0, predictor.num_frames - 1
        )
        self.seed = as_optional(as_count, "seed", seed, -(2**63))
        self.regularizer = None
        if learning == "teacher_free":
            self.set_regularizer(regularizer, self.seed)
        elif regularizer is not None:
            raise ValueError(
                "`regularizer` is for learning='teacher_free'. Received one beside "
                f"learning={learning!r}, which cannot collapse without. Leave it out."
            )
        self.prediction_loss = keras.losses.MeanAbsoluteError(
            name="prediction_loss", dtype="float32"
        )
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    @classmethod
    def from_encoder(
        cls,
        encoder: ViTEncoder,
        slots: int | Sequence[str],
        state_dim: int = 0,
        num_frames: int = 8,
        predictor_layers: int | None = None,
        predictor_dim: int | None = None,
        predictor_heads: int | None = None,
        **model_arguments: Any,
    ) -> Self:
        """Make a model around an encoder, with a predictor that fits.

        Precision, stochastic depth, `remat` and how kernels start are the encoder's.

        Args:
            encoder: `ViTEncoder` or `VideoEncoder`, trained or not.
            slots: How many numbers an action has, or their names.
            state_dim: Integer, numbers of a state; 0 if there is none.
            num_frames: Integer, frames of the longest clip.
            predictor_layers: Optional integer, depth of the predictor. Defaults to the
                encoder's.
            predictor_dim: Optional integer, its width. Defaults to the encoder's.
            predictor_heads: Optional integer, its attention heads. Defaults to the
                encoder's.
            **model_arguments: `learning`, `rollout_steps`, `ema_momentum`,
                `regularizer`, `seed`, `name`.

        Returns:
            A `LatentDynamicsModel`, with the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")
        model = keras_iwm.models.LatentDynamicsModel.from_encoder(
            encoder, slots=("pan_rows", "pan_columns"), predictor_layers=2
        )
        ```
        """
        needed = ("image_size", "grid_size", "hidden_dim", "num_layers", "num_heads")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        slots = as_slots(slots)
        sizes = {
            "predictor_dim": (predictor_dim, encoder.hidden_dim),
            "predictor_layers": (predictor_layers, encoder.num_layers),
            "predictor_heads": (predictor_heads, encoder.num_heads),
        }
        predictor = DynamicsPredictor(
            encoder.grid_size[-2:],
            encoder.hidden_dim,
            *(as_optional(as_count, n, v) or other for n, (v, other) in sizes.items()),
            len(slots),
            state_dim,
            num_frames,
            drop_path_rate=encoder.drop_path_rate,
            remat=encoder.remat,
            initializer_stddev=encoder.initializer_stddev,
            dtype=encoder.dtype_policy,
            name="predictor",
        )
        return cls(encoder, predictor, slots, **model_arguments)

    @classmethod
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return with_predictor_sizes(preset_arguments(preset, arguments))

    @property
    def trainable(self) -> bool:
        """Whether the model learns. A frozen encoder never does."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        TeacherStudentModel.trainable.fset(self, value)
        if getattr(self, "learning", None) == "frozen":
            self.encoder.trainable = False

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """Predict each frame from those before it, and the first ones in a rollout."""
        frames, actions, states = parts_of(inputs)
        frames = ops.convert_to_tensor(frames)
        if states is not None:
            states = states[:, :-1]
        latents, context, target = self._contexts_and_targets(frames, training)
        prediction = self.predictor(context, actions, states, training=training)
        outputs = {"prediction": prediction, "target": target}
        if self.regularizer is not None:
            outputs["latents"] = latents
        if steps := self.rollout_steps:
            states = None if states is None else states[:, :steps]
            outputs["rollout"] = self.rollout(
                context[:, :1], actions[:, :steps], states
            )
        return outputs

    def method_loss(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return the mean distances of predictions and of rollouts."""
        loss = self.prediction_loss(outputs["target"], outputs["prediction"])
        if self.rollout_steps:
            target = outputs["target"][:, : self.rollout_steps]
            loss = loss + self.prediction_loss(target, outputs["rollout"])
        return loss

    def _contexts_and_targets(self, frames, training):
        """Latents of all frames, if they learn, of the contexts and of the targets."""
        if self.learning == "teacher":
            context = self.latents_of(self.encoder, frames[:, :-1], training)
            return None, context, self.encode(frames[:, 1:])
        if self.learning == "frozen":
            latents = self.encode(frames)
        else:
            latents = self.latents_of(self.encoder, frames, training)
        return latents, latents[:, :-1], latents[:, 1:]

    def forward_passes(self) -> list[tuple[Any, Config]]:
        """Say what runs for one clip of `num_frames` in training."""
        # A teacher sees all frames but the first, its student all but the last.
        encoders = [self.encoder] * (self.num_frames - self.has_teacher)
        if self.has_teacher:
            encoders += [self.target_encoder] * (self.num_frames - 1)
        passes = [(part, {"num_context": self.num_patches}) for part in encoders]
        passes.append((self.predictor, {"num_steps": self.num_frames - 1}))
        if self.rollout_steps:
            numbers = {"num_steps": self.rollout_steps, "rolls_out": True}
            passes.append((self.predictor, numbers))
        return passes

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["view_generator"], config["num_classes"]
        parts = {"predictor": self.predictor, "regularizer": self.regularizer}
        return {
            **config,
            **{n: keras.saving.serialize_keras_object(p) for n, p in parts.items()},
            "slots": self.slots,
            "learning": self.learning,
            "rollout_steps": self.rollout_steps,
            "seed": self.seed,
        }
