import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import jaccard_score

from keras_iwm.metrics import MeanIntersectionOverUnion


def random_pixels(seed):
    """Masks without classes 3 and 6 and with label 11, logits without class 6."""
    rng = np.random.default_rng(seed)
    masks = rng.choice([0, 1, 2, 4, 5, 7, 8, 9, 10, 11], (3, 9, 7)).astype("uint8")
    logits = rng.normal(size=(3, 9, 7, 11)).astype("float32")
    logits[..., 6] = -9
    likely = rng.random(masks.shape) < 0.5
    logits += 4 * (likely & (masks < 11))[..., None] * (masks[..., None] == range(11))
    return masks, logits


@pytest.mark.parametrize("ignore_label", [11, 2])
def test_mean_is_that_of_scikit_learn(ignore_label):
    metric = MeanIntersectionOverUnion(11, ignore_label=ignore_label)
    pixels = [random_pixels(seed) for seed in (0, 1)]
    for masks, logits in pixels:
        metric.update_state(masks, logits)
    truth = np.concatenate([masks for masks, _ in pixels])
    counted = (truth != ignore_label) & (truth < 11)
    prediction = np.concatenate([logits for _, logits in pixels]).argmax(-1)
    pairs = truth[counted], prediction[counted]
    np.testing.assert_allclose(
        metric.result(), jaccard_score(*pairs, average="macro"), rtol=1e-6
    )
    expected = jaccard_score(*pairs, labels=range(11), average=None, zero_division=0)
    expected[6] = np.nan  # in neither
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-6)
    assert metric.per_class()[3] == 0  # predicted, but never true
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_mean_is_that_of_keras():
    masks, logits = random_pixels(0)
    metric = MeanIntersectionOverUnion(11, 11)
    other = keras.metrics.MeanIoU(11, ignore_class=11, sparse_y_pred=False)
    for each in (metric, other):
        each.update_state(masks, logits)
    np.testing.assert_allclose(metric.result(), other.result(), rtol=1e-6)


def test_weights_count_pixels_several_times():
    masks, logits = random_pixels(0)
    weight = np.random.default_rng(0).integers(0, 4, masks.shape)
    metric = MeanIntersectionOverUnion(11, 11)
    metric.update_state(masks, logits, sample_weight=weight)
    valid = masks != 11
    expected = jaccard_score(
        masks[valid],
        logits.argmax(-1)[valid],
        average="macro",
        sample_weight=weight[valid],
    )
    np.testing.assert_allclose(ops.convert_to_numpy(metric.result()), expected, 1e-6)
