"""A warning when a run's representation collapses."""

import warnings

import keras
import numpy as np

from keras_iwm.type_aliases import Logs

# Healthy runs kept two thirds of their first RankMe and half of their first spread.
_RANK_SHARE = 1 / 3
_SPREAD_SHARE = 1 / 10
# Collapsed runs end between a rank of 1 and 2, whatever the width. A latent of the last
# norm spreads by about 1 over its features, so that images which differ by a hundredth
# are all but the same.
_LEAST_RANK = 2
_LEAST_SPREAD = 0.01


class CollapseWarning(keras.callbacks.Callback):
    """Warn once when the representation of a run collapses, or the run diverges.

    A model that predicts its own features can make its task easy: all images get
    nearly the same, which are no effort to predict. The loss then looks excellent.
    That is so of world models, and of contrastive ones without negatives.
    This callback reads what `WorldModelQuality` has put into the logs, measured on
    the feature encoder (the teacher, where there is one), and gives one `UserWarning`
    a run with the numbers and what to change, when

    - `rankme` is below a third of the run's first measurement, or below 2;
    - `feature_std` is below a tenth of its first measurement, or below 0.01;
    - the loss, or one of these, is NaN or infinite: the run has diverged.

    Healthy runs stay well above: RankMe may fall by a third, the spread by half. The
    run goes on in any case; `StopOnNonFinite` ends diverged ones.
    Measure on a few dozen images or more: RankMe is at most their number. A resumed
    run compares with the first measurement after it was resumed.

    Raises:
        ValueError: At the end of the first epoch, if the logs lack a number: put
            `WorldModelQuality` before this in the list of callbacks.

    Example:

    ```python
    from keras_iwm.callbacks import CollapseWarning, WorldModelQuality

    model = keras_iwm.models.ImageWorldModel.from_preset(
        "ijepa_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), "uint8")
    callbacks = [WorldModelQuality(images[16:]), CollapseWarning()]
    model.fit(images[:16], batch_size=8, callbacks=callbacks)
    ```
    """

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget an earlier run."""
        self._first = None
        self._has_warned = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Judge the numbers of this epoch."""
        logs = logs or {}
        missing = [key for key in ("rankme", "feature_std", "loss") if key not in logs]
        if missing and epoch > 0:
            return  # between two measurements
        if missing:
            raise ValueError(
                f"`CollapseWarning` needs {missing} in the logs of an epoch. Put "
                "WorldModelQuality, which measures them, before it: "
                "fit(callbacks=[WorldModelQuality(images), CollapseWarning()]). "
                f"Received logs: {sorted(logs)}."
            )
        rank, spread, loss = (logs[key] for key in ("rankme", "feature_std", "loss"))
        if self._first is None:
            self._first = rank, spread
        if self._has_warned:
            return
        first_rank, first_spread = self._first
        seen = (
            f"RankMe {rank:.3g} (first {first_rank:.3g}), standard deviation of "
            f"features {spread:.3g} (first {first_spread:.3g}), loss {loss:.3g}"
        )
        if not np.all(np.isfinite([rank, spread, loss])):
            self._warn(
                f"The run has diverged by the end of epoch {epoch}: {seen}. Steps that "
                "are not finite are skipped, so the weights, and a checkpoint of them, "
                "are those of the last good step; but a run that skips all steps is "
                "useless: StopOnNonFinite ends it. Lower the learning rate first; then "
                "try a longer warm-up, clipped gradients (`global_clipnorm` of the "
                "optimizer) and bfloat16 or float32 in place of float16. Make sure "
                "that no image holds NaN."
            )
        elif rank < max(_LEAST_RANK, _RANK_SHARE * first_rank) or spread < max(
            _LEAST_SPREAD, _SPREAD_SHARE * first_spread
        ):
            self._warn(
                f"The representation is collapsing at the end of epoch {epoch}: "
                f"{seen}. Images get ever more alike features, and a small loss is "
                "then no sign of success. Try, in this order: a lower learning rate; "
                "a teacher that moves more slowly (`ema_momentum` nearer to 1, such "
                "as 0.996 rising to 1); a longer warm-up; less weight decay; bigger "
                "batches; for a ContrastiveModel `negatives=True`."
            )

    def _warn(self, message):
        """Warn, and never again in this run."""
        self._has_warned = True
        warnings.warn(message, stacklevel=2)
