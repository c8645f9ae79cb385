import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.visualization import plot_undo  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"
NAMES = ("solarization", "gaussian_blur")


def make_arguments():
    rng = np.random.default_rng(0)
    images = rng.uniform(1, 250, (2, 6, 8, 3))
    retrieved = {name: images.copy() for name in NAMES}
    retrieved["solarization"][1] += 2.0
    # Less than half a level of 255 is rounding, not another image.
    retrieved["gaussian_blur"] -= 0.3
    return {
        "images": images,
        "degraded": {name: rng.uniform(0, 255, (2, 6, 8, 3)) for name in NAMES},
        "retrieved": retrieved,
        "operation_names": NAMES,
    }


def axes_of(figure):
    """Returns the axes as (operation, row, column)."""
    return np.array(figure.axes).reshape(2, 2, 3)


def frames(axes):
    return [[to_hex(axis.spines["top"].get_edgecolor()) for axis in rows[:, 1]]
            for rows in axes]  # fmt: skip


def test_source_retrieved_and_target_stand_side_by_side():
    arguments = make_arguments()
    figure = plot_undo(**arguments)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["solarization", "gaussian blur"]
    axes = axes_of(figure)
    assert [axis.get_title() for axis in axes[1, 0]] == [
        "source", "retrieved", "target",
    ]  # fmt: skip
    for operation, name in enumerate(NAMES):
        for row in range(2):
            columns = (
                arguments["degraded"][name],
                arguments["retrieved"][name],
                arguments["images"],
            )
            for axis, images in zip(axes[operation, row], columns, strict=True):
                np.testing.assert_allclose(
                    axis.images[0].get_array(), images[row] / 255, atol=1e-6
                )
    assert frames(axes) == [[HIT, MISS], [HIT, HIT]]
    assert {axis.get_xlabel() for axis in figure.axes} == {""}


def test_ranks_are_written_and_decide_what_is_a_hit():
    ranks = {"solarization": [7, 1], "gaussian_blur": np.array([2.5, 1.0])}
    axes = axes_of(plot_undo(**make_arguments(), ranks=ranks, bank_size=256))
    assert frames(axes) == [[MISS, HIT], [MISS, HIT]]
    labels = [[axis.get_xlabel() for axis in rows[:, 1]] for rows in axes]
    assert labels == [["rank 7 of 256", "rank 1 of 256"],
                      ["rank 2.5 of 256", "rank 1 of 256"]]  # fmt: skip


def test_long_names_are_broken_and_have_room():
    image = np.zeros((1, 4, 4, 3))
    name = "gaussian_blur_followed_by_grayscale_and_solarization"
    short = plot_undo(image, {"blur": image}, {"blur": image}, ["blur"])
    long = plot_undo(image, {name: image}, {name: image}, [name])
    title = long.subfigs[0].get_suptitle()
    assert title == "gaussian blur followed by grayscale\nand solarization"
    growth = long.get_size_inches() - short.get_size_inches()
    np.testing.assert_allclose(growth, [0, 0.2], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operation_names": "blur"}, "`operation_names` must be a list"),
        ({"operation_names": ("grey",)}, "`degraded` must have an entry.*no 'grey'"),
        ({"retrieved": {}}, "`retrieved` must have an entry.* but nothing"),
        ({"images": np.zeros((3, 6, 8, 3))}, r"`degraded\['solarization'\]` must have"),
        ({"ranks": {name: [1] for name in NAMES}}, r"`ranks\['solarization'\]`"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_undo(**(make_arguments() | change))
