import sys

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_training_curves  # noqa: E402

HISTORY = {
    "loss": [0.9, 0.5, 0.4],
    "mrr": [0.03, 0.1, 0.2],
    "mrr_chance": [0.024] * 3,
    "mrr_shuffled_action": [0.02, 0.03, 0.025],
    "rankme": [20.0, 30.0, 40.0],
    "learning_rate": [1e-3] * 3,
}


def drawn(figure):
    """Returns {title: {label: (x, y)}} of all panels."""
    return {
        axis.get_title(): {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
            for line in axis.lines
        }
        for axis in figure.axes
    }


def test_only_what_was_logged_is_drawn():
    panels = drawn(plot_training_curves(HISTORY))
    assert list(panels) == ["loss", "mean reciprocal rank", "RankMe"]
    assert panels["loss"] == {"training": ([1, 2, 3], [0.9, 0.5, 0.4])}
    assert panels["mean reciprocal rank"] == {
        "world model": ([1, 2, 3], [0.03, 0.1, 0.2]),
        "shuffled actions": ([1, 2, 3], [0.02, 0.03, 0.025]),
        "chance": ([1, 2, 3], [0.024] * 3),
    }
    everything = {**HISTORY, "hit_at_1": [0.1] * 3, "feature_std": [1.0] * 3,
                  "knn_accuracy": [0.5] * 3, "val_loss": [1.0] * 3}  # fmt: skip
    panels = drawn(plot_training_curves(everything))
    assert len(panels) == 6
    assert list(panels["loss"]) == ["training", "validation"]


def test_history_objects_and_csv_files_are_read(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit(
        np.ones((4, 3)), np.zeros((4, 1)), initial_epoch=2, epochs=5, verbose=0,
        callbacks=[logger],
    )  # fmt: skip
    for source in (history, tmp_path / "log.csv", str(tmp_path / "log.csv")):
        epochs, losses = drawn(plot_training_curves(source))["loss"]["training"]
        assert epochs == [3, 4, 5]
        np.testing.assert_allclose(losses, history.history["loss"], rtol=1e-6)


def test_missing_values_leave_gaps(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss,mrr\n0,1.5,NA\n1,0.5,0.25\n")
    panels = drawn(plot_training_curves(tmp_path / "log.csv"))
    assert panels["mean reciprocal rank"]["world model"] == ([2], [0.25])


def test_curves_have_marks_references_and_axes_from_zero():
    history = {"loss": [0.5, 0.4, 0.3], "knn_accuracy": [0.8, np.nan, 0.81]}
    summary = {"knn_untrained": 0.7, "knn_pixels": 0.4, "ridge_pixels": 0.5}
    figure = plot_training_curves(history, summary)
    loss, accuracy = figure.axes
    assert loss.get_ylim()[0] == accuracy.get_ylim()[0] == 0
    curve, untrained, pixels = accuracy.lines
    assert list(curve.get_xdata()) == [1, 3]
    assert curve.get_marker() == "o"
    assert [line.get_label() for line in accuracy.lines[1:]] == [
        "untrained encoder",
        "pixels",
    ]
    assert [line.get_ydata()[0] for line in (untrained, pixels)] == [0.7, 0.4]
    with pytest.raises(ValueError, match=r"summary\['knn_pixels'\]"):
        plot_training_curves(history, {"knn_pixels": "low"})


def test_of_several_runs_the_mean_and_its_interval_are_drawn(tmp_path):
    nan = float("nan")
    runs = [
        {"loss": [0.9, 0.5, 0.4], "mrr": [nan, 0.1, 0.2], "rankme": [3.0, 4.0, 5.0]},
        {"loss": [0.7, 0.4, 0.4], "mrr": [0.1, 0.2, 0.3]},
        {"loss": [0.5, 0.3, 0.4], "mrr": [0.1, 0.3, nan]},
    ]
    (tmp_path / "log.csv").write_text("epoch,loss,mrr\n0,0.5,0.1\n1,0.3,0.3\n2,0.4,\n")
    for third in (runs[2], tmp_path / "log.csv"):
        figure = plot_training_curves([*runs[:2], third])
        panels = drawn(figure)
        # What all have measured: no RankMe, and MRR in one epoch.
        assert list(panels) == ["loss", "mean reciprocal rank"]
        epochs, means = panels["loss"]["training"]
        assert epochs == [1, 2, 3]
        np.testing.assert_allclose(means, [0.7, 0.4, 0.4])
        assert panels["mean reciprocal rank"]["world model"][0] == [2]
        (band,) = figure.axes[0].collections
        corners = band.get_paths()[0].vertices
        # Student's t of two degrees of freedom; deviations 0.2, 0.1 and 0.
        for epoch, mean, error in ((1, 0.7, 0.2), (2, 0.4, 0.1), (3, 0.4, 0)):
            values = corners[corners[:, 0] == epoch, 1]
            margin = 4.303 * error / np.sqrt(3)
            np.testing.assert_allclose(
                [values.min(), values.max()], [mean - margin, mean + margin], atol=1e-9
            )
        assert "3 runs" in figure.get_suptitle()
    (alone,) = drawn(plot_training_curves([runs[0]]))["loss"].values()
    assert alone == ([1, 2, 3], [0.9, 0.5, 0.4])
    assert not plot_training_curves([runs[0]]).axes[0].collections
    with pytest.raises(ValueError, match="an empty list"):
        plot_training_curves([])
    with pytest.raises(ValueError, match="by 2 runs"):
        plot_training_curves([{"loss": [0.5, nan]}, {"loss": [nan, 0.5]}])


def test_nothing_to_draw_is_explained():
    with pytest.raises(ValueError, match="Received: learning_rate"):
        plot_training_curves({"learning_rate": [0.1]})
    with pytest.raises(ValueError, match="Received: nothing"):
        plot_training_curves({})


def test_figures_are_saved_without_pyplot_and_the_missing_extra_is_named(
    tmp_path, monkeypatch
):
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = [] if pyplot is None else pyplot.get_fignums()
    plot_training_curves(HISTORY).savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert pyplot is None or pyplot.get_fignums() == before
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot_training_curves(HISTORY)
