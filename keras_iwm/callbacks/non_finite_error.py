"""What ends a run in which nothing is finite any more."""

from collections.abc import Sequence
from typing import Any


class NonFiniteError(FloatingPointError):
    """Raised by `StopOnNonFinite` when too many steps in a row were skipped.

    The model is as the last good step has left it. What the message says, the
    attributes hold for programs.

    Args:
        epoch: Integer, the epoch, from 0 as `fit` counts.
        step: Integer, the last skipped step in it, from 0.
        skipped_steps: Integer, how many in a row were skipped.
        learning_rate: Float, the learning rate of that step.
        last_loss: Float, the last finite loss of a step, infinite if there was none.
        images: List of the names of the images in that step's batch, or of their
            indices in the dataset; `None` if they are not known.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    stop = keras_iwm.callbacks.StopOnNonFinite()
    try:
        model.fit(images, batch_size=8, callbacks=[stop])
    except keras_iwm.callbacks.NonFiniteError as error:
        print(error.epoch, error.step, error.images)
    ```
    """

    def __init__(
        self,
        epoch: int,
        step: int,
        skipped_steps: int,
        learning_rate: float,
        last_loss: float,
        images: Sequence[Any] | None,
    ) -> None:
        self.epoch = epoch
        self.step = step
        self.skipped_steps = skipped_steps
        self.learning_rate = learning_rate
        self.last_loss = last_loss
        self.images = images
        super().__init__(
            f"The loss, a gradient or the learning rate was not finite in "
            f"{skipped_steps} steps in a row, up to step {step} of epoch {epoch} (both "
            f"counted from 0). They were skipped: the model is as the step before them "
            f"has left it. Learning rate: {learning_rate:.6g}. Last finite loss: "
            f"{last_loss:.6g}. {describe(images)} Lower the learning rate first; then "
            "try a longer warm-up, clipped gradients (`global_clipnorm` of the "
            "optimizer) and bfloat16 or float32 in place of float16. If it happens at "
            "the same images again, look into their files for NaN and broken values."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the arguments, so that other processes can be told."""
        arguments = (self.epoch, self.step, self.skipped_steps, self.learning_rate)
        return type(self), (*arguments, self.last_loss, self.images)


# Names in a message; a batch may hold thousands.
MOST_NAMES = 100


def describe(images):
    """Say which images the last batch had."""
    if images is None:
        return (
            "Images of the last batch: unknown; give the callback the dataset to learn "
            "their names, StopOnNonFinite(dataset=dataset)."
        )
    names = ", ".join(map(str, images[:MOST_NAMES]))
    more = len(images) - MOST_NAMES
    rest = f" and {more} more, see `images` of this error" if more > 0 else ""
    return f"Images of the last batch: {names}{rest}."
