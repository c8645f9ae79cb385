import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.actions import GaussianBlur, Solarization, Transform  # noqa: E402
from keras_iwm.evaluation import WorldModelEvaluator  # noqa: E402
from keras_iwm.visualization import plot_undo  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"


class GaussianBlurFollowedByGrayscaleAndSolarization(Transform):
    parameters = ("amount",)
    identity = (0.0,)
    scales = (1.0,)

    def draw(self, uniforms):
        return uniforms

    def apply(self, images, parameters):
        return images


def test_source_retrieved_and_target_stand_side_by_side(known_retrievals, gamma):
    evaluator = known_retrievals([gamma], [Solarization(), GaussianBlur((0.4, 1.0))])
    figure = plot_undo(evaluator, num_images=2)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["solarization", "gaussian blur"]
    axes = np.array(figure.axes).reshape(2, 2, 3)  # operation, row, column
    assert [axis.get_title() for axis in axes[1, 0]] == [
        "source", "retrieved", "target",
    ]  # fmt: skip
    for index in range(2):
        image = evaluator.images[index] / 255
        powers = evaluator.parameters[index][:, 0]
        wanted = np.argsort(np.abs(powers - 1))[-1 - index]
        nearest = wanted - wanted % 2
        blurred = evaluator.undo(index)["gaussian_blur"]["degraded"] / 255
        for row, source in (
            (axes[0, index], np.where(image < 0.5, image, 1 - image)),
            (axes[1, index], blurred),
        ):
            expected = (source, image ** powers[nearest], image ** powers[wanted])
            for axis, picture in zip(row, expected, strict=True):
                np.testing.assert_allclose(
                    axis.images[0].get_array(), picture, atol=1e-4
                )
            hit = wanted == nearest
            assert row[1].get_xlabel() == f"rank {1 if hit else 3.5} of 6"
            frame = to_hex(row[1].spines["top"].get_edgecolor())
            assert frame == (HIT if hit else MISS)


def test_long_names_are_broken_and_have_room(known_retrievals, gamma):
    short = plot_undo(known_retrievals([gamma], [Solarization()]))
    name = GaussianBlurFollowedByGrayscaleAndSolarization()
    long = plot_undo(known_retrievals([gamma], [name]))
    title = long.subfigs[0].get_suptitle()
    assert title == "gaussian blur followed by grayscale\nand solarization"
    growth = long.get_size_inches() - short.get_size_inches()
    np.testing.assert_allclose(growth, [0, 0.2], atol=1e-9)


def test_bad_arguments_are_refused(known_retrievals, gamma):
    evaluator = known_retrievals([gamma])
    with pytest.raises(ValueError, match="must have destructive operations to undo"):
        plot_undo(evaluator)
    other = WorldModelEvaluator(evaluator.model, evaluator.images, evaluator.bank)
    with pytest.raises(ValueError, match="must be of class EquivarianceEvaluator"):
        plot_undo(other)
