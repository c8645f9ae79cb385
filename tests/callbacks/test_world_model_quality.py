import csv

import keras
import numpy as np
import pytest

from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.callbacks import HistoryFile, RunCheckpoint, WorldModelQuality
from keras_iwm.datasets import ImageArray
from keras_iwm.evaluation import (
    RetrievalBank,
    evaluate_world_model,
    extract_features,
    knn_accuracy,
)
from keras_iwm.metrics import feature_spread, rank_me, reciprocal_rank_chance
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import AdamW
from keras_iwm.views import MultiBlockMask, ViewGenerator

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (12, 20, 20, 3)).astype("uint8")
LABELS = GENERATOR.integers(0, 2, 12)


def make_model(conditioning="feature", **view_arguments):
    keras.utils.set_random_seed(0)
    views = ViewGenerator(20, MultiBlockMask((5, 5)), seed=0, **view_arguments)
    model = ImageWorldModel(
        ViTEncoder(20, 4, 16, 1, 2),
        WorldModelPredictor(
            (5, 5),
            16,
            16,
            1,
            2,
            action_dim=views.action_space.action_dim,
            conditioning=conditioning,
        ),
        views,
        ema_momentum=0.5,
    )
    model.compile(AdamW(5e-3, weight_decay=0.04))
    return model


def fit(model, *callbacks, epochs=4):
    return model.fit(
        IMAGES, batch_size=6, epochs=epochs, verbose=0, callbacks=list(callbacks)
    ).history


def test_values_are_logged_at_epoch_0_every_nth_and_the_last(tmp_path):
    quality = WorldModelQuality(
        IMAGES[:4], LABELS[:4], bank=RetrievalBank(8), every=2, num_neighbors=2
    )
    log = tmp_path / "log.csv"
    history = fit(make_model(), quality, HistoryFile(log))
    names = {
        "mrr", "mrr_chance", "hit_at_1", "mrr_shuffled_action", "rankme",
        "feature_std", "knn_accuracy",
    }  # fmt: skip
    assert set(history) == names | {"loss"}
    spread = history["feature_std"]
    # Epochs 0, 2 and 3 are measured; epoch 1 is not.
    assert np.isnan(spread).tolist() == [False, True, False, False]
    assert len(set(spread)) == 4
    chance = reciprocal_rank_chance(8)
    np.testing.assert_array_equal(
        history["mrr_chance"], [chance, np.nan, chance, chance]
    )
    rows = list(csv.DictReader(log.open()))
    assert set(rows[0]) == names | {"loss", "epoch"}
    assert [row["feature_std"] for row in rows] == [
        "" if np.isnan(value) else str(value) for value in spread
    ]


def test_a_run_that_ends_early_has_as_many_values_as_epochs():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    quality = WorldModelQuality(IMAGES[:4], bank=RetrievalBank(8), every=3)
    history = fit(make_model(), quality, Stop(), epochs=9)
    assert np.isnan(history["rankme"]).tolist() == [False, True]


def test_values_are_those_of_the_teacher_at_the_end():
    model, bank = make_model(), RetrievalBank(8)
    quality = WorldModelQuality(
        IMAGES[:5], LABELS[:5], IMAGES[5:], LABELS[5:], bank, num_neighbors=3
    )
    history = fit(model, quality, epochs=2)
    results = evaluate_world_model(model, IMAGES[:5], bank, verbose=False)
    for key in ("mrr", "hit_at_1", "mrr_shuffled_action"):
        assert history[key][-1] == pytest.approx(results[key], rel=1e-6)
    features = extract_features(model.target_encoder, IMAGES[:5])
    assert history["rankme"][-1] == pytest.approx(rank_me(features), rel=1e-5)
    assert history["feature_std"][-1] == pytest.approx(
        feature_spread(features), rel=1e-5
    )
    neighbours = extract_features(model.target_encoder, IMAGES[5:])
    assert history["knn_accuracy"][-1] == knn_accuracy(
        neighbours, LABELS[5:], features, LABELS[:5], k=3
    )


def test_training_is_the_same_with_and_without_it():
    losses = []
    for callbacks in ([], [WorldModelQuality(IMAGES[:2], bank=RetrievalBank(4))]):
        losses.append(fit(make_model(), *callbacks, epochs=2)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_twenty_evenly_spaced_images_are_ranked_by_default():
    model = make_model()
    images = np.tile(IMAGES, (4, 1, 1, 1))[:39]
    quality = WorldModelQuality(images, bank=RetrievalBank(4))
    quality.set_model(model)
    quality.on_train_begin()
    assert np.array_equal(quality._evaluator.images, images[::2])


def test_log_agrees_with_an_evaluation_of_the_same_images():
    model = make_model()
    bank = RetrievalBank(8)
    quality = WorldModelQuality(IMAGES, bank=bank, retrieval_images=IMAGES[:3])
    history = fit(model, quality, epochs=1)
    results = evaluate_world_model(model, IMAGES[:3], bank, verbose=False)
    for key in ("mrr", "hit_at_1", "mrr_shuffled_action"):
        assert history[key][-1] == pytest.approx(results[key], rel=1e-5)


def test_evaluator_is_kept_over_fits():
    model = make_model()
    quality = WorldModelQuality(IMAGES[:2], bank=RetrievalBank(4))
    quality.set_model(model)
    quality.on_train_begin()
    evaluator = quality._evaluator
    quality.on_train_begin()
    assert quality._evaluator is evaluator


def test_model_without_actions_gets_feature_measures_alone():
    model = make_model(conditioning="none", actions=())
    history = fit(model, WorldModelQuality(IMAGES[:4]), epochs=1)
    assert set(history) == {"loss", "rankme", "feature_std"}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="every"):
        WorldModelQuality(IMAGES, every=0)
    with pytest.raises(ValueError, match="train_labels"):
        WorldModelQuality(IMAGES, LABELS, train_images=IMAGES)
    with pytest.raises(ValueError, match="labels"):
        WorldModelQuality(IMAGES, train_images=IMAGES, train_labels=LABELS)
    with pytest.raises(ValueError, match="shape \\(12,\\)"):
        WorldModelQuality(IMAGES, LABELS[:3])
    with pytest.raises(ValueError, match="num_neighbors"):
        WorldModelQuality(IMAGES, LABELS, num_neighbors=12)


def test_images_that_do_not_fit_the_model_are_refused_before_training():
    model = make_model()
    with pytest.raises(ValueError, match="pixels"):
        fit(model, WorldModelQuality(IMAGES[:, :16]))
    assert int(model.optimizer.iterations) == 0


def test_held_out_images_are_looked_at_before_the_first_epoch():
    broken = IMAGES.astype("float32")
    broken[9, 3, 4, 1] = np.nan
    started = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: started.append(epoch)
    )
    for name, arguments in (
        ("images", {"images": broken}),
        ("train_images", {"labels": LABELS, "train_images": broken}),
        ("retrieval_images", {"retrieval_images": broken}),
    ):
        arguments = {"images": IMAGES, **arguments}
        if name == "train_images":
            arguments["train_labels"] = LABELS
        with pytest.raises(ValueError, match=f"`{name}` must hold finite.*image 9"):
            fit(make_model(), note, WorldModelQuality(**arguments))
    assert started == []


class Kill(keras.callbacks.Callback):
    """End a run as its third epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_a_resumed_run_measures_at_the_epochs_of_one_that_was_not_stopped(tmp_path):
    def run(folder, *callbacks):
        quality = WorldModelQuality(IMAGES[:4], bank=RetrievalBank(8), every=3)
        checkpoint = RunCheckpoint(tmp_path / folder, callbacks=[quality])
        dataset = ImageArray(IMAGES, batch_size=6)
        model, start = checkpoint.resume(dataset, make_model)
        return model.fit(
            dataset,
            initial_epoch=start,
            epochs=4,
            verbose=0,
            callbacks=[quality, checkpoint, *callbacks],
        ).history

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", Kill())
    np.testing.assert_equal(run("stopped"), whole)
    assert np.isnan(whole["rankme"]).tolist() == [False, True, True, False]
