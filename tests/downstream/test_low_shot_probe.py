import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from keras_iwm.downstream import linear_probe, low_shot_probe
from keras_iwm.evaluation import ridge_accuracy

GENERATOR = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 4], [100, 50, 10])
FEATURES = GENERATOR.normal(size=(160, 6)) + 0.7 * LABELS[:, None]
TEST_LABELS = GENERATOR.choice([0, 1, 4], 60)
TEST = GENERATOR.normal(size=(60, 6)) + 0.7 * TEST_LABELS[:, None]
DATA = (FEATURES, LABELS, TEST, TEST_LABELS)


def test_every_draw_is_balanced_and_the_probe_sees_no_more():
    seen = []

    def probe(features, labels, test, test_labels):
        np.testing.assert_array_equal(test, TEST)
        np.testing.assert_array_equal(test_labels, TEST_LABELS)
        rows = [int(np.flatnonzero((f == FEATURES).all(axis=1))[0]) for f in features]
        np.testing.assert_array_equal(LABELS[rows], labels)
        assert len(set(rows)) == len(rows)
        seen.append(rows)
        return len(seen) / 10

    results = low_shot_probe(*DATA, fraction=0.04, num_draws=4, probe=probe)
    for rows in seen:
        counts = np.unique(LABELS[rows], return_counts=True)
        assert [c.tolist() for c in counts] == [[0, 1, 4], [4, 2, 1]]
    assert len(set(map(tuple, seen))) == 4
    assert results["accuracies"] == [0.1, 0.2, 0.3, 0.4]
    assert results["accuracy"] == pytest.approx(0.25)
    assert results["standard_deviation"] == pytest.approx(np.std([1, 2, 3, 4]) / 10)
    assert results["num_train"] == 7
    first = seen.copy()
    seen.clear()
    low_shot_probe(*DATA, fraction=0.04, num_draws=2, probe=probe)
    assert seen == first[:2]
    seen.clear()
    low_shot_probe(*DATA, fraction=0.04, num_draws=1, seed=1, probe=probe)
    assert seen[0] not in first


def test_all_labels_give_the_probe_itself():
    results = low_shot_probe(*DATA, fraction=1, num_draws=2)
    assert results["accuracies"] == [ridge_accuracy(*DATA)] * 2
    assert results["standard_deviation"] == 0.0
    scaler = StandardScaler().fit(FEATURES)
    expected = RidgeClassifierCV(alphas=10.0 ** np.arange(-1, 7))
    expected.fit(scaler.transform(FEATURES), LABELS)
    score = expected.score(scaler.transform(TEST), TEST_LABELS)
    assert results["accuracy"] == pytest.approx(score, abs=1e-12)


def test_linear_probe_may_take_the_place_of_ridge():
    def probe(*data):
        return linear_probe(*data, (0.1,), (0.01,), epochs=20)

    results = low_shot_probe(*DATA, fraction=1, num_draws=1, probe=probe)
    assert results["accuracy"] == probe(*DATA)["accuracy"]
    assert results["accuracy"] > 0.7


def test_bad_arguments_are_refused():
    for fraction in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`fraction`"):
            low_shot_probe(*DATA, fraction=fraction)
    with pytest.raises(ValueError, match=r"Missing: \[4\]"):
        low_shot_probe(FEATURES[:150], LABELS[:150], TEST, TEST_LABELS)
    with pytest.raises(ValueError, match="test_labels.*negative"):
        low_shot_probe(FEATURES, LABELS, TEST, TEST_LABELS - 1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        low_shot_probe(FEATURES, LABELS * 0, TEST, TEST_LABELS * 0)
    with pytest.raises(ValueError, match="train_features"):
        low_shot_probe(FEATURES[:, 0], LABELS, TEST, TEST_LABELS)
    with pytest.raises(ValueError, match="`num_draws`"):
        low_shot_probe(*DATA, num_draws=0)
    with pytest.raises(ValueError, match="`probe`"):
        low_shot_probe(*DATA, probe="ridge")
