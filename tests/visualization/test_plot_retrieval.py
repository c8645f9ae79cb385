import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.actions import (  # noqa: E402
    ActionSpace,
    ChannelOffset,
    ColorJitter,
    Flip,
)
from keras_iwm.evaluation import (  # noqa: E402
    RetrievalBank,
    WorldModelEvaluator,
)
from keras_iwm.visualization import plot_retrieval  # noqa: E402
from keras_iwm.visualization.slot_words import request_in_words  # noqa: E402

HIT, MISS = "#3f8f5f", "#d1495b"


def drawn(axis):
    return np.asarray(axis.images[0].get_array())


def frame(axis):
    return to_hex(axis.spines["left"].get_edgecolor())


def test_pictures_words_and_ranks_stand_in_their_columns(known_retrievals, gamma):
    evaluator = known_retrievals([gamma], value_range=(0, 65535))
    axes = np.array(plot_retrieval(evaluator, num_images=2).axes).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == [
        "image", "requested change", "retrieved for the prediction", "target",
    ]  # fmt: skip
    for index, row in enumerate(axes):
        image = evaluator.images[index] / 65535
        powers = evaluator.parameters[index][:, 0]
        # The entry that changes most, and for the second image the one after it.
        wanted = np.argsort(np.abs(powers - 1))[-1 - index]
        nearest = wanted - wanted % 2
        np.testing.assert_allclose(drawn(row[0]), image, atol=1e-6)
        np.testing.assert_allclose(drawn(row[3]), image ** powers[wanted], atol=1e-4)
        np.testing.assert_allclose(drawn(row[2]), image ** powers[nearest], atol=1e-4)
        assert row[1].texts[0].get_text() == f"gamma power {powers[wanted]:.3g}"
        hit = wanted == nearest
        assert row[3].get_xlabel() == f"rank {1 if hit else 3.5} of 6"
        assert frame(row[2]) == (HIT if hit else MISS)


def test_the_channels_are_chosen(known_retrievals):
    evaluator = known_retrievals([ChannelOffset(12)], num_channels=12)
    figure = plot_retrieval(evaluator, num_images=1, rgb_channels=(9, 4, 0))
    image = evaluator.images[0][..., [9, 4, 0]] / 255
    np.testing.assert_allclose(drawn(figure.axes[0]), image, atol=1e-6)
    space = evaluator.model.action_space
    sizes = np.abs(evaluator.parameters[0]).sum(axis=1)
    offsets = evaluator.parameters[0][np.argsort(sizes)[-1]]
    target = np.clip(image + offsets[[9, 4, 0]], 0, 1)
    np.testing.assert_allclose(drawn(figure.axes[3]), target, atol=1e-5)
    # The largest six of the changes are named, in their order.
    text = figure.axes[1].texts[0].get_text()
    largest = np.sort(np.argsort(np.abs(offsets))[-6:])
    lines = [f"offset {slot} {offsets[slot]:.3g}" for slot in largest]
    assert text == "\n".join([*lines, "and 6 smaller changes"])
    assert text == request_in_words(space.shared, offsets)


def test_one_channel_is_gray(known_retrievals, gamma):
    evaluator = known_retrievals([gamma], num_channels=1, value_range=(0, 1))
    figure = plot_retrieval(evaluator, num_images=1)
    gray = evaluator.images[0].repeat(3, axis=-1)
    np.testing.assert_allclose(drawn(figure.axes[0]), gray, atol=1e-6)


def test_equal_entries_are_no_miss(known_retrievals):
    evaluator = known_retrievals([Flip()])
    flips = np.array([1, 1, 0, 0, 0, 0], "float32")[:, None]
    evaluator.parameters = np.stack([flips, flips, flips])
    figure = plot_retrieval(evaluator, num_images=2)
    # Entry 1 is wanted first, and 0 retrieved for it.
    mirrored = drawn(figure.axes[0])[:, ::-1]
    np.testing.assert_allclose(drawn(figure.axes[2]), mirrored, atol=1e-6)
    assert frame(figure.axes[2]) == HIT
    assert figure.axes[3].get_xlabel() == "rank 3.5 of 6"
    assert figure.axes[1].texts[0].get_text() == "flip 1"


def test_requests_in_words():
    shared = ActionSpace([ColorJitter()]).shared
    words = request_in_words(shared, np.array([1.2, 0.75, 1.001, -0.05]))
    assert words == "brightness +20 %\ncontrast -25 %\nhue -18°"
    assert request_in_words(shared, np.array([1.0, 1.0, 1.0, 0.0])) == "no change"


def test_a_model_and_images_are_drawn_as_their_evaluator_is(world_model, gamma):
    model = world_model([gamma, Flip()])
    shape = (2, 8, 12, 3)
    images = np.random.default_rng(1).integers(0, 256, shape).astype("uint8")
    bank = RetrievalBank.for_actions(model.action_space, 4)
    figure = plot_retrieval(model, images, bank)
    evaluator = WorldModelEvaluator(model, images, bank)
    other = plot_retrieval(evaluator)
    assert len(figure.axes) == len(other.axes) == 8
    for one, two in zip(figure.axes, other.axes, strict=True):
        assert one.get_xlabel() == two.get_xlabel()
        if one.images:
            np.testing.assert_array_equal(drawn(one), drawn(two))
    found = evaluator.retrieve(0)
    sizes = np.abs(found["parameters"] - [1, 0]) @ [1 / 1.5, 1]
    rank = found["ranks"][np.argsort(sizes, kind="stable")[-1]]
    assert figure.axes[3].get_xlabel() == f"rank {rank:g} of 4"


def test_bad_arguments_are_refused(world_model, known_retrievals, gamma):
    evaluator = known_retrievals([gamma])
    model = evaluator.model
    with pytest.raises(ValueError, match="`images` must be given with a model"):
        plot_retrieval(model)
    with pytest.raises(ValueError, match="must be left out with an evaluator"):
        plot_retrieval(evaluator, evaluator.images)
    with pytest.raises(ValueError, match="`num_images` must be an integer"):
        plot_retrieval(evaluator, num_images=0)
    with pytest.raises(ValueError, match="for images of 3 channels"):
        plot_retrieval(model, evaluator.images, rgb_channels=(0, 1, 3))
    with pytest.raises(ValueError, match="measured by its features alone"):
        plot_retrieval(world_model((), conditioning="none"), evaluator.images)
