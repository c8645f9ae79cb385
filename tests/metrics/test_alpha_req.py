import numpy as np
import pytest

from keras_iwm.metrics import alpha_req


def features_with(variances, num_images=200, seed=0):
    """Features with exactly these variances along rotated axes, and a mean."""
    generator = np.random.default_rng(seed)
    dim = len(variances)
    normal = generator.normal(size=(num_images, dim))
    scores, _ = np.linalg.qr(normal - normal.mean(axis=0))
    rotation, _ = np.linalg.qr(generator.normal(size=(dim, dim)))
    return 2 + (scores * np.sqrt(num_images * np.asarray(variances))) @ rotation


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_power_law_gives_its_exponent(alpha, dtype):
    features = features_with(5 * np.arange(1, 33) ** -alpha).astype(dtype)
    assert alpha_req(features) == pytest.approx(alpha, rel=1e-4)


def test_isotropic_features_do_not_decay():
    assert alpha_req(features_with(np.ones(8))) == pytest.approx(0.0, abs=1e-12)


def test_another_spectrum_gives_the_line_of_least_squares():
    variances = np.array([3.0, 2.0, 1.9, 0.1, 0.07])
    slope, _ = np.polyfit(np.log(np.arange(1, 6)), np.log(variances), 1)
    assert alpha_req(features_with(variances)) == pytest.approx(-slope, rel=1e-9)


def test_features_that_vary_along_one_axis_or_none_decay_without_bound():
    assert alpha_req(np.full((6, 4), 0.1)) == np.inf
    assert alpha_req(np.zeros((6, 4))) == np.inf
    line = np.outer(np.arange(9.0), [1.0, -0.3, 0.2]) + 0.7
    assert alpha_req(line) == np.inf


def test_a_dimension_that_holds_float32_rounding_is_left_out():
    features = features_with(np.arange(1, 17) ** -1.0)
    direction = np.ones(16) / 4
    flat = features - np.outer(features @ direction, direction)
    in_float64 = alpha_req(flat)
    assert alpha_req(flat.astype("float32")) == pytest.approx(in_float64, rel=1e-4)
    values = np.linalg.eigvalsh(np.cov(flat.T))[::-1][:15]
    slope, _ = np.polyfit(np.log(np.arange(1, 16)), np.log(values), 1)
    assert in_float64 == pytest.approx(-slope, rel=1e-9)


def test_features_that_are_not_finite_are_nan_and_patch_latents_refused():
    assert np.isnan(alpha_req([[1.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="num_images, hidden_dim"):
        alpha_req(np.zeros((2, 3, 4)))
