import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.actions import Flip  # noqa: E402
from keras_iwm.evaluation import RetrievalBank, WorldModelEvaluator  # noqa: E402
from keras_iwm.visualization import plot_model_comparison  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"


@pytest.fixture
def images():
    shape = (3, 8, 12, 3)
    return np.random.default_rng(1).integers(0, 256, shape).astype("uint8")


@pytest.fixture
def known(monkeypatch):
    """Lets entry 0 be retrieved by models that know of no flip, else the wanted one."""

    def retrieve(self, index):
        order = np.arange(self.bank.size)
        knows = "flip" in self.model.action_space.slots
        return {
            "parameters": self.parameters[index],
            "nearest": order if knows else 0 * order,
            "ranks": 1.0 + (0 * order if knows else order / 2),
        }

    monkeypatch.setattr(WorldModelEvaluator, "retrieve", retrieve)


def test_models_stand_in_columns_between_request_and_target(
    known, world_model, gamma, images
):
    # The second model's slots stand in another order, and one is not in the bank.
    models = {
        "invariant_model": world_model([gamma]),
        "equivariant": world_model([Flip(), gamma]),
    }
    bank = RetrievalBank(5, [gamma])
    figure = plot_model_comparison(models, images, bank, num_images=2)
    axes = np.array(figure.axes).reshape(2, 5)
    assert [axis.get_title() for axis in axes[0]] == [
        "image", "requested change", "invariant model", "equivariant", "target",
    ]  # fmt: skip
    for index, row in enumerate(axes):
        image, powers = images[index] / 255, bank.parameters(3)[index, :, 0]
        wanted = np.argsort(np.abs(powers - 1))[-1 - index]
        target = image ** powers[wanted]
        assert row[1].texts[0].get_text() == f"gamma power {powers[wanted]:.3g}"
        for axis, picture in zip(
            row[[0, 2, 3, 4]], (image, image ** powers[0], target, target), strict=True
        ):
            np.testing.assert_allclose(axis.images[0].get_array(), picture, atol=1e-4)
        labels = [axis.get_xlabel() for axis in row[2:4]]
        assert labels == [f"rank {1 + wanted / 2:g} of 5", "rank 1 of 5"]
        frames = [to_hex(axis.spines["left"].get_edgecolor()) for axis in row[2:4]]
        assert frames == [MISS if wanted else HIT, HIT]


def test_long_names_have_room(known, world_model, gamma, images):
    model = world_model([gamma])
    models = {
        "a": model,
        "b": model,
        "ViT-B/16, feature conditioning, 300 epochs": model,
    }
    figure = plot_model_comparison(models, images, num_images=1)
    assert len(figure.axes) == 6
    assert figure.axes[4].get_title() == "ViT-B/16, feature\nconditioning, 300\nepochs"
    # The bank is the first model's own.
    assert figure.axes[4].get_xlabel().endswith("of 256")
    # The longest title is within the figure, and so are the captions.
    FigureCanvasAgg(figure).draw()
    box = figure.get_tightbbox()
    assert box.y0 >= 0
    assert box.y1 <= figure.get_size_inches()[1]


def test_bad_arguments_are_refused(world_model, gamma, images):
    for models in ({}, world_model([gamma])):
        with pytest.raises(ValueError, match="`models` must be a dictionary"):
            plot_model_comparison(models, images)
    models = {"one": world_model([Flip()]), "other": world_model([gamma])}
    with pytest.raises(ValueError, match="must have the slots"):
        plot_model_comparison(models, images)
