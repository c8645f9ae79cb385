import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.actions import ColorJitter, Flip  # noqa: E402
from keras_iwm.visualization import plot_action_sweep  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"


def frames(axis):
    return [to_hex(frame.get_edgecolor()) for frame in axis.patches]


def texts(axis):
    return [label.get_text() for label in axis.get_xticklabels()]


def test_each_slot_has_its_targets_above_what_was_retrieved(known_retrievals, gamma):
    evaluator = known_retrievals([gamma, Flip()])
    figure = plot_action_sweep(
        evaluator, index=1, slots=["flip", "gamma_power"], num_values=4
    )
    picture, flip, power = figure.axes
    image = evaluator.images[1] / 255
    np.testing.assert_allclose(picture.images[0].get_array(), image, atol=1e-6)
    # Of 33 values 0, 10, 21 and 32 are drawn; an odd one retrieves the one before.
    values = 0.5 + 1.5 * np.arange(33) / 32
    expected = [image ** values[entry] for entry in (0, 0, 10, 10, 21, 20, 32, 32)]
    drawn = np.array([artist.get_array() for artist in power.images])
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    assert power.get_title(loc="left") == "gamma power"
    assert texts(power.child_axes[0]) == ["0.5", "0.969", "1.48", "2"]
    assert texts(power) == ["exact", "exact", "off 0.047", "exact"]
    assert frames(power) == [HIT, HIT, MISS, HIT]
    # A flip has two values, and the first is retrieved for both.
    drawn = np.array([artist.get_array() for artist in flip.images])
    expected = [image, image, image[:, ::-1], image]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    assert texts(flip.child_axes[0]) == ["0", "1"]
    assert texts(flip) == ["exact", "off 1"]
    # Images are 1 wide and 2/3 high, 0.07 apart; what was retrieved is below.
    extents = [artist.get_extent() for artist in power.images]
    np.testing.assert_allclose(extents[0], [0, 1, 2 / 3, 0])
    np.testing.assert_allclose(extents[1], [0, 1, 4 / 3 + 0.07, 2 / 3 + 0.07])
    np.testing.assert_allclose(extents[4], [2.14, 3.14, 2 / 3, 0])
    # Every slot has the width of the longest, so that all images are of one size.
    for axis in (flip, power):
        np.testing.assert_allclose(axis.get_xlim(), (0, 4.21))
        np.testing.assert_allclose(axis.get_ylim(), (4 / 3 + 0.07, 0))


def test_changes_of_colour_are_written_in_words(known_retrievals):
    evaluator = known_retrievals([ColorJitter(saturation=0.0)])
    figure = plot_action_sweep(evaluator, num_values=3)
    # The bank is the headline one, whatever the model trained with.
    names = [axis.get_title(loc="left") for axis in figure.axes[1:]]
    assert names == ["brightness", "contrast", "saturation", "hue"]
    brightness, hue = figure.axes[1], figure.axes[4]
    assert texts(brightness.child_axes[0]) == ["-40 %", "0 %", "+40 %"]
    assert texts(hue.child_axes[0]) == ["-36°", "0°", "+36°"]
    figure = plot_action_sweep(evaluator, slots=["brightness"], num_values=4)
    assert texts(figure.axes[1]) == ["exact", "exact", "off 2.5 %", "exact"]


def test_a_short_slot_has_room_for_its_name(known_retrievals):
    axis = plot_action_sweep(known_retrievals([Flip()])).axes[1]
    np.testing.assert_allclose(axis.get_xlim(), (0, 3.14))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": "flip"}, "`slots` must be a list"),
        ({"slots": ()}, r"`slots` must be a list of some of \('flip',\)"),
        ({"slots": ["flip", "blur"]}, r"Received: \['flip', 'blur'\]"),
        ({"index": 3}, "`index` must be one of the 3 images"),
        ({"index": -1}, "`index` must be an integer of at least 0"),
        ({"num_values": 0}, "`num_values` must be an integer"),
        ({"rgb_channels": (0, 1)}, "`rgb_channels` must be three channels"),
    ],
)
def test_bad_arguments_are_refused(known_retrievals, change, message):
    with pytest.raises(ValueError, match=message):
        plot_action_sweep(known_retrievals([Flip()]), **change)
