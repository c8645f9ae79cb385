import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.visualization import plot_action_sweep  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"


def make_arguments():
    rng = np.random.default_rng(0)
    targets = {
        "brightness": rng.uniform(-1, 1, (3, 4, 8, 3)),
        "hue": rng.uniform(-1, 1, (2, 4, 8, 3)),
    }
    retrieved = {
        "brightness": targets["brightness"][[0, 0, 2]],
        "hue": targets["hue"][[1, 1]],
    }
    return {
        "image": rng.uniform(-1, 1, (4, 8, 3)),
        "retrieved": retrieved,
        "targets": targets,
        "slot_names": ("hue", "brightness"),
        "value_range": (-1, 1),
    }


def frames(axis):
    return [to_hex(frame.get_edgecolor()) for frame in axis.patches]


def texts(axis):
    return [label.get_text() for label in axis.get_xticklabels()]


def test_each_slot_has_its_targets_above_what_was_retrieved():
    arguments = make_arguments()
    image, hue, brightness = plot_action_sweep(**arguments).axes
    np.testing.assert_allclose(
        image.images[0].get_array(), (arguments["image"] + 1) / 2, atol=1e-6
    )
    for axis, slot in ((hue, "hue"), (brightness, "brightness")):
        assert axis.get_title(loc="left") == slot
        pairs = zip(arguments["targets"][slot], arguments["retrieved"][slot],
                    strict=True)  # fmt: skip
        expected = np.array([picture for pair in pairs for picture in pair])
        drawn = np.array([artist.get_array() for artist in axis.images])
        np.testing.assert_allclose(drawn, (expected + 1) / 2, atol=1e-6)
    # Images are 1 wide and 0.5 high, 0.07 apart; what was retrieved is below.
    extents = [artist.get_extent() for artist in brightness.images]
    np.testing.assert_allclose(extents[0], [0, 1, 0.5, 0])
    np.testing.assert_allclose(extents[1], [0, 1, 1.07, 0.57])
    np.testing.assert_allclose(extents[4], [2.14, 3.14, 0.5, 0])
    # Every slot has the width of the longest, so that all images are of one size.
    for axis in (hue, brightness):
        np.testing.assert_allclose(axis.get_xlim(), (0, 3.14))
        np.testing.assert_allclose(axis.get_ylim(), (1.07, 0))
    assert frames(hue) == [MISS, HIT]
    assert frames(brightness) == [HIT, MISS, HIT]
    assert texts(brightness) == ["", "", ""]


def test_values_and_errors_are_written_in_words():
    figure = plot_action_sweep(
        **make_arguments(),
        values={"hue": [-0.05, 0.1], "brightness": np.array([0.6, 1.0, 1.25])},
        errors={"hue": [0.0, -0.025], "brightness": np.array([0.1, 0.0125, 0.0])},
    )
    _, hue, brightness = figure.axes
    assert texts(hue.child_axes[0]) == ["-18°", "+36°"]
    assert texts(hue) == ["exact", "off 9°"]
    assert texts(brightness.child_axes[0]) == ["-40 %", "0 %", "+25 %"]
    assert texts(brightness) == ["off 10 %", "off 1.2 %", "exact"]
    # What the errors say goes before what the pixels say.
    assert frames(hue) == [HIT, MISS]
    assert frames(brightness) == [MISS, MISS, HIT]


def test_other_slots_are_written_as_numbers():
    images = np.zeros((2, 4, 4, 3))
    figure = plot_action_sweep(
        images[0], {"gaussian_blur": images}, {"gaussian_blur": images + 9},
        ["gaussian_blur"], {"gaussian_blur": [0.5, 2.0]}, {"gaussian_blur": [0, 1.5]},
    )  # fmt: skip
    axis = figure.axes[1]
    assert axis.get_title(loc="left") == "gaussian blur"
    assert texts(axis.child_axes[0]) == ["0.5", "2"]
    assert texts(axis) == ["exact", "off 1.5"]
    # There is room for three images at least, so that the slot's name fits.
    np.testing.assert_allclose(axis.get_xlim(), (0, 3.14))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((1, 4, 8, 3))}, "`image` must be one image"),
        ({"slot_names": "hue"}, "`slot_names` must be a list"),
        ({"slot_names": ()}, "`slot_names` must be a list"),
        ({"targets": {"hue": np.zeros((2, 4, 8, 3))}}, "Received no 'brightness'"),
        ({"slot_names": ("hue", "blur")}, "`retrieved` must have an entry"),
        ({"image": np.zeros((4, 4, 3))}, r"`retrieved\['hue'\]` must hold images"),
        ({"values": {"hue": [1.0], "brightness": [1.0] * 3}}, r"`values\['hue'\]`"),
        ({"errors": {"hue": [1.0] * 2, "brightness": [1.0]}}, r"`errors\['bright"),
        (
            {"slot_names": ("hue",), "retrieved": {"hue": np.zeros((3, 4, 8, 3))}},
            r"`retrieved\['hue'\]` must hold one image for each of the 2 targets",
        ),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_action_sweep(**(make_arguments() | change))
