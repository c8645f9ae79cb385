import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.neighbors import NearestNeighbors  # noqa: E402

from keras_iwm.evaluation import nearest_neighbors  # noqa: E402

MODULE = sys.modules[nearest_neighbors.__module__]
DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("block", [7, 1000])
def test_neighbours_are_scikit_learns_in_parts_of_any_size(others, block, monkeypatch):
    monkeypatch.setattr(MODULE, "_NUM_FEATURES", block)
    monkeypatch.setattr(MODULE, "_NUM_QUERIES", block)
    features = DRAWS.normal(size=(50, 6)).astype("float32")
    queries = None if others else DRAWS.normal(size=(20, 6)).astype("float32")
    searcher = NearestNeighbors(n_neighbors=5, metric="cosine").fit(features)
    distances, expected = searcher.kneighbors(queries)
    indices, similarities = nearest_neighbors(features, queries, k=5)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(similarities, 1 - distances, atol=1e-6)


def test_of_equals_the_first_ones_come_first(monkeypatch):
    monkeypatch.setattr(MODULE, "_NUM_FEATURES", 3)
    features = np.ones((10, 2))
    indices, similarities = nearest_neighbors(features, features[:1], k=4)
    assert indices.tolist() == [[0, 1, 2, 3]]
    np.testing.assert_allclose(similarities, 1.0)


def test_a_memory_map_and_rows_of_zeros_are_searched(tmp_path):
    features = np.memmap(tmp_path / "rows", "float16", "w+", shape=(4, 2))
    features[:] = [[0, 0], [1, 0], [1, 1], [-1, 0]]
    indices, similarities = nearest_neighbors(features, np.array([[2.0, 0.0]]), k=4)
    assert indices.tolist() == [[1, 2, 0, 3]]
    np.testing.assert_allclose(similarities, [[1, np.sqrt(0.5), 0, -1]], atol=1e-6)


def test_what_cannot_be_searched_is_refused():
    features = DRAWS.normal(size=(5, 3))
    with pytest.raises(ValueError, match="as many columns"):
        nearest_neighbors(features, features[:, :2], k=1)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 4"):
        nearest_neighbors(features, k=5)
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match="`features` must hold finite"):
        nearest_neighbors(features, np.ones((1, 3)), k=1)
