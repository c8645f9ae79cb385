import json

import numpy as np
import pytest

from keras_iwm.visualization import plot_surprise

SHARES = {
    "prediction": {"value": 0.8, "low": 0.7, "high": 0.9},
    "copy": {"value": 0.6, "low": 0.5, "high": 0.7},
    "untrained": {"value": 0.55, "low": 0.4, "high": 0.65},
}
CURVES = {
    "frames": [-1, 0, 1],
    "possible": [0.2, 0.25, 0.3],
    "impossible": [0.2, 0.5, 0.4],
}
PARTS = {"accuracy": {**SHARES, "chance": 0.5}, "curves": CURVES}
REPORT = {"settings": {}, "events": {"vanishes": PARTS, "passes_wall": PARTS}}


def test_curves_bars_and_intervals_are_the_numbers():
    figure = plot_surprise(json.loads(json.dumps(REPORT)))
    above, below = np.reshape(figure.axes, (2, 2))[:, 1]
    assert above.get_title() == "passes wall"
    for line, name in zip(above.lines[:2], ("possible", "impossible"), strict=True):
        assert line.get_label() == name
        np.testing.assert_allclose(
            line.get_xydata(), np.transpose([CURVES["frames"], CURVES[name]])
        )
    heights = [bar.get_height() for bar in below.patches]
    assert heights == [share["value"] for share in SHARES.values()]
    for collection, share in zip(below.collections, SHARES.values(), strict=True):
        ends = collection.get_segments()[0][:, 1]
        np.testing.assert_allclose(ends, [share["low"], share["high"]])
    assert below.lines[0].get_ydata()[0] == 0.5


@pytest.mark.parametrize("report", [None, {}, {"events": {}}, {"events": {"a": {}}}])
def test_other_reports_are_refused(report):
    with pytest.raises(ValueError, match="`report` must be what evaluate_surprise"):
        plot_surprise(report)
