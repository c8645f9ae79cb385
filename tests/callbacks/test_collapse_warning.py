import warnings

import keras
import numpy as np
import pytest

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.callbacks import CollapseWarning, WorldModelQuality
from keras_iwm.models import ContrastiveModel, ImageWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, ViewGenerator


def replay(ranks, spreads=None, losses=None, callback=None):
    """Messages of a run with these numbers in its logs, with the epoch of each."""
    callback = callback or CollapseWarning()
    callback.on_train_begin()
    messages = []
    for epoch, rank in enumerate(ranks):
        logs = {
            "rankme": rank,
            "feature_std": spreads[epoch] if spreads else 0.4,
            "loss": losses[epoch] if losses else 0.3,
        }
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callback.on_epoch_end(epoch, logs)
        messages += [(epoch, str(warning.message)) for warning in caught]
    return messages


# Runs of real models on real photos: every 15th epoch's RankMe, spread and loss.
HEALTHY = {
    "feature": (
        [24.5, 23.0, 22.0, 22.4],
        [0.444, 0.475, 0.405, 0.381],
        [0.62, 0.33, 0.31, 0.30],
    ),
    "none": (
        [24.0, 18.8, 21.1, 22.3],
        [0.490, 0.375, 0.333, 0.315],
        [0.81, 0.30, 0.34, 0.35],
    ),
    "long": (
        [24.7, 28.5, 25.4, 24.0, 23.0, 22.9, 23.3, 23.4, 23.8, 23.9, 23.9],
        [0.442, 0.535, 0.448, 0.369, 0.323, 0.295, 0.277, 0.266, 0.254, 0.243, 0.239],
        [0.63, 0.39, 0.37, 0.36, 0.37, 0.38, 0.38, 0.37, 0.35, 0.33, 0.32],
    ),
    "from 33 to 22": ([33.0, 28.0, 22.0], [0.5, 0.4, 0.3], [0.7, 0.4, 0.3]),
}


@pytest.mark.parametrize("run", HEALTHY)
def test_healthy_runs_are_left_alone(run):
    assert replay(*HEALTHY[run]) == []


def test_falling_rank_warns_once_with_the_numbers_and_the_remedies():
    ((epoch, message),) = replay([24.0, 12.0, 8.1, 7.9, 5.0, 1.0])
    assert epoch == 3
    assert "RankMe 7.9 (first 24)" in message
    assert "standard deviation of features 0.4 (first 0.4), loss 0.3" in message
    for remedy in ("learning rate", "`ema_momentum`", "warm-up", "weight decay"):
        assert remedy in message
    assert "batches" in message


def test_falling_spread_warns():
    ((epoch, message),) = replay([20.0] * 4, [0.5, 0.2, 0.06, 0.04])
    assert epoch == 3
    assert "0.04 (first 0.5)" in message


@pytest.mark.parametrize(("rank", "spread"), [(1.9, 0.4), (20.0, 0.009)])
def test_run_that_is_collapsed_at_its_first_measurement_warns(rank, spread):
    ((epoch, message),) = replay([rank, rank], [spread, spread])
    assert epoch == 0
    assert "collaps" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_has_its_own_words(value):
    ((epoch, message),) = replay([24.0] * 3, losses=[0.5, value, value])
    assert epoch == 1
    assert "diverged" in message
    assert "collaps" not in message
    ((_, message),) = replay([float("nan")])
    assert "diverged" in message


def test_next_run_is_judged_by_its_own_first_measurement():
    callback = CollapseWarning()
    assert len(replay([24.0, 5.0], callback=callback)) == 1
    assert replay([5.0, 4.0], callback=callback) == []
    assert len(replay([24.0, 5.0], callback=callback)) == 1


def test_missing_numbers_are_named_with_the_remedy():
    callback = CollapseWarning()
    callback.on_train_begin()
    message = r"\['rankme', 'feature_std'\].*WorldModelQuality.*before it"
    with pytest.raises(ValueError, match=message):
        callback.on_epoch_end(0, {"loss": 0.3})


def test_epochs_without_a_measurement_are_passed_over():
    callback = CollapseWarning()
    callback.on_train_begin()
    numbers = {"rankme": 20.0, "feature_std": 0.4, "loss": 0.3}
    callback.on_epoch_end(0, dict(numbers))
    callback.on_epoch_end(1, {"loss": 0.3})
    with pytest.warns(UserWarning, match="is collapsing at the end of epoch 2"):
        callback.on_epoch_end(2, {**numbers, "rankme": 1.0})


def coloured_images(size, num_colours=2):
    """48 images of smooth colours, so many along each side."""
    shape = (48, num_colours, num_colours, 3)
    colours = np.random.default_rng(0).uniform(0, 255, shape)
    images = keras.ops.image.resize(colours.astype("float32"), (size, size))
    return keras.ops.convert_to_numpy(images).clip(0, 255).astype("uint8")


def test_real_run_warns_when_it_collapses_and_not_before():
    images = coloured_images(20)
    views = ViewGenerator(20, MultiBlockMask((5, 5)), actions=(), seed=0)
    model = ImageWorldModel(
        ViTEncoder(20, 4, 16, 1, 2),
        WorldModelPredictor((5, 5), 16, 16, 1, 2, conditioning="none"),
        views,
        ema_momentum=0.5,
    )
    # After 6 epochs of 6 steps, far too much: the images fade beside the positions.
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([36], [0.04, 30.0])
    model.compile(AdamW(1e-2, weight_decay=decay))
    callbacks = [WorldModelQuality(images), CollapseWarning()]
    settings = {"batch_size": 8, "verbose": 0, "callbacks": callbacks}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(collaps|diverge)")
        healthy = model.fit(images, epochs=6, **settings).history
    assert healthy["rankme"][-1] > 4
    with pytest.warns(UserWarning, match="representation is collapsing"):
        collapsed = model.fit(images, epochs=5, **settings).history
    assert collapsed["rankme"][-1] < 2
    # Its loss alone looks like success.
    assert collapsed["loss"][-1] < 0.7 * max(collapsed["loss"])


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="nothing differs between backends"
)
@pytest.mark.parametrize("negatives", [True, False])
def test_contrastive_run_without_all_that_keeps_it_from_collapse_warns(negatives):
    seed = 2 if negatives else 4
    keras.utils.set_random_seed(seed)
    model = ContrastiveModel.from_encoder(
        ViTEncoder(16, 4, 16, 1, 2),
        projector_dims=(32, 32, 8),
        predictor_dims=(32, 8) if negatives else (),
        negatives=negatives,
        ema_momentum=0.9 if negatives else 0.0,
        seed=seed,
    )
    # Without negatives as strong as makes every seed collapse, whatever rounding does.
    settings = (0.02, 0.3) if negatives else (0.03, 1.0)
    model.compile(AdamW(settings[0], weight_decay=settings[1]))
    images = coloured_images(16, 4)
    callbacks = [WorldModelQuality(images), CollapseWarning()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(
            images, batch_size=16, epochs=100, verbose=0, callbacks=callbacks
        ).history
    messages = [str(warning.message) for warning in caught]
    messages = [message for message in messages if "is collapsing" in message]
    if negatives:
        assert messages == []
        assert min(history["rankme"]) > 2
    else:
        assert "`negatives=True`" in messages[0]
        assert min(history["rankme"]) < 2
        # Its loss alone looks like success.
        assert history["loss"][-1] < 0.7 * history["loss"][0]
