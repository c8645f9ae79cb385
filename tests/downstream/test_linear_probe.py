import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from keras_iwm.downstream import LinearProbeModel, linear_probe
from keras_iwm.downstream.linear_probe import _hold_out, _train
from keras_iwm.downstream.parallel_heads import ParallelHeads


def features_and_labels(num_images, seed, num_classes=3):
    """Overlapping classes; one feature is constant, none has mean 0."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images)
    features = generator.normal(size=(num_images, 6)).astype("float32")
    features[:, :num_classes] += 0.7 * np.eye(num_classes, dtype="float32")[labels]
    features = features * np.arange(1, 7, dtype="float32") + 5
    features[:, 4] = 0.1
    return features, labels


def test_converged_probe_equals_scikit_learn():
    train, train_labels = features_and_labels(90, 0)
    test, test_labels = features_and_labels(200, 1)
    decay = 0.1
    results = linear_probe(
        *(train, train_labels, test, test_labels),
        learning_rates=(0.3,),
        weight_decays=(decay,),
        epochs=300,
        batch_size=90,
    )
    scaler = StandardScaler().fit(train.astype("float64"))
    # The default solver stops at errors of 3e-4.
    expected = LogisticRegression(C=1 / (90 * decay), solver="newton-cg", tol=1e-7)
    expected.fit(scaler.transform(train), train_labels)
    kernel = keras.ops.convert_to_numpy(results["probe"].kernel)
    bias = keras.ops.convert_to_numpy(results["probe"].bias)
    np.testing.assert_allclose(kernel, expected.coef_.T, atol=3e-6)
    # A constant added to all logits changes nothing.
    centred = expected.intercept_ - expected.intercept_.mean()
    np.testing.assert_allclose(bias - bias.mean(), centred, atol=3e-6)
    assert results["accuracy"] == expected.score(scaler.transform(test), test_labels)
    assert results["sweep"] == [
        {
            "learning_rate": 0.3,
            "weight_decay": decay,
            "validation_accuracy": None,
            "test_accuracy": results["accuracy"],
        }
    ]


def softmax_regression(features, targets, rate, decay, steps):
    """Full-batch momentum descent with a cosine schedule, in NumPy."""
    kernel = np.zeros((features.shape[1], targets.shape[1]))
    bias = np.zeros(targets.shape[1])
    moved_kernel, moved_bias = np.zeros_like(kernel), np.zeros_like(bias)
    for step in range(steps):
        logits = features @ kernel + bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = exponentials / exponentials.sum(axis=1, keepdims=True)
        errors = (shares - targets) / len(features)
        now = rate * (1 + np.cos(np.pi * step / steps)) / 2
        moved_kernel = 0.9 * moved_kernel - now * (features.T @ errors + decay * kernel)
        moved_bias = 0.9 * moved_bias - now * errors.sum(axis=0)
        kernel, bias = kernel + moved_kernel, bias + moved_bias
    return kernel, bias


def test_each_parallel_head_learns_as_if_alone():
    features, labels = features_and_labels(30, 2)
    scaled = StandardScaler().fit_transform(features.astype("float64"))
    pairs = [(0.01, 0.5), (0.3, 0.0), (0.3, 0.5)]
    scale = features.std(axis=0)
    scale[4] = 1
    heads = ParallelHeads(features.mean(axis=0), scale, 3, pairs)
    chosen = np.arange(30) < 24
    _train(heads, features, labels, chosen, 7, 24, seed=0, verbose=False)
    for index, pair in enumerate(pairs):
        kernel, bias = softmax_regression(scaled[:24], np.eye(3)[labels[:24]], *pair, 7)
        probe = heads.probe(index)
        np.testing.assert_allclose(probe.get_weights()[0], kernel, atol=1e-5)
        np.testing.assert_allclose(probe.get_weights()[1], bias, atol=1e-5)


def test_head_is_chosen_on_held_out_training_images():
    train, train_labels = features_and_labels(120, 3)
    test, test_labels = features_and_labels(80, 4)
    arguments = dict(
        learning_rates=(1.0, 1e-6, 0.03),
        weight_decays=(0.0, 0.3),
        epochs=4,
        batch_size=50,
        seed=5,
    )
    results = linear_probe(train, train_labels, test, test_labels, **arguments)
    sweep = results["sweep"]
    assert [(e["learning_rate"], e["weight_decay"]) for e in sweep] == [
        *((1e-6, 0.3), (1e-6, 0.0), (0.03, 0.3), (0.03, 0.0), (1.0, 0.3), (1.0, 0.0))
    ]
    scores = [entry["validation_accuracy"] for entry in sweep]
    best = sweep[int(np.argmax(scores))]  # the first of equals
    assert results["accuracy"] == best["test_accuracy"]
    assert results["learning_rate"] == best["learning_rate"]
    assert results["weight_decay"] == best["weight_decay"]
    held_out = _hold_out(train_labels, 5)
    predicted = results["probe"].predict(train[held_out], verbose=0).argmax(axis=1)
    assert np.mean(predicted == train_labels[held_out]) == max(scores)
    predicted = results["probe"].predict(test, verbose=0).argmax(axis=1)
    assert np.mean(predicted == test_labels) == results["accuracy"]
    # Test labels that are all wrong change no choice.
    spoiled = linear_probe(train, train_labels, test, 2 - test_labels, **arguments)
    assert spoiled["learning_rate"] == results["learning_rate"]
    assert [e["validation_accuracy"] for e in spoiled["sweep"]] == scores


def test_a_tenth_of_every_class_is_held_out():
    labels = np.repeat([0, 1, 2, 4], [100, 34, 5, 1])
    held_out = _hold_out(labels, 0)
    assert np.bincount(labels[held_out], minlength=5).tolist() == [10, 3, 1, 0, 0]
    assert not np.array_equal(held_out, _hold_out(labels, 1))


def test_digits_are_classified_as_well_as_by_scikit_learn():
    pixels, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(1).permutation(len(labels))
    train, test = rows[:1200], rows[1200:]
    data = (pixels[train], labels[train], pixels[test], labels[test])
    results = linear_probe(*data)
    # The same penalty on the same nine tenths, converged.
    kept = train[~_hold_out(labels[train], 0)]
    scaler = StandardScaler().fit(pixels[train])
    penalty = 1 / (len(kept) * results["weight_decay"])
    expected = LogisticRegression(C=penalty, max_iter=1000)
    expected.fit(scaler.transform(pixels[kept]), labels[kept])
    score = expected.score(scaler.transform(pixels[test]), labels[test])
    assert 0.94 < score < 0.99
    assert results["accuracy"] == pytest.approx(score, abs=0.01)


def test_probe_survives_saving_and_knows_its_features(tmp_path):
    probe = LinearProbeModel(4, 3, name="digits")
    values = np.random.default_rng(6).normal(size=(4, 3)).astype("float32")
    probe.kernel.assign(values)
    probe.mean.assign([1.0, 2, 3, 4])
    probe.deviation.assign([1.0, 2, 4, 8])
    probe.bias.assign([0.5, 0, -1])
    features = np.random.default_rng(7).normal(size=(5, 4)).astype("float32")
    expected = (features - [1, 2, 3, 4]) / [1, 2, 4, 8] @ values + [0.5, 0, -1]
    np.testing.assert_allclose(probe.predict(features, verbose=0), expected, atol=1e-5)
    probe.save(tmp_path / "probe.keras")
    loaded = keras.models.load_model(tmp_path / "probe.keras")
    np.testing.assert_array_equal(
        loaded.predict(features, verbose=0), probe.predict(features, verbose=0)
    )
    assert len(loaded.trainable_variables) == 2
    with pytest.raises(ValueError, match=r"\(batch_size, 4\)"):
        probe(features[:, :3])


def test_probe_computes_in_float32_under_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    features = np.full((2, 3), 1000.5, "float32")
    probe = LinearProbeModel(3, 2)
    probe.mean.assign([1000.25] * 3)
    probe.kernel.assign(np.ones((3, 2)))
    logits = keras.ops.convert_to_numpy(probe(features))
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, np.full((2, 2), 0.75))


def test_bad_arguments_are_refused():
    features, labels = features_and_labels(20, 8)

    def probe(train=features, train_labels=labels, test_labels=labels, **arguments):
        linear_probe(train, train_labels, features, test_labels, **arguments)

    broken = features.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        probe(broken)
    with pytest.raises(ValueError, match="as many features"):
        probe(features[:, :3])
    with pytest.raises(ValueError, match=r"train_labels.*shape \(20,\)"):
        probe(train_labels=labels[:3])
    with pytest.raises(ValueError, match="train_labels.*negative"):
        probe(train_labels=labels - 1)
    with pytest.raises(ValueError, match=r"Missing: \[2\]"):
        probe(train_labels=np.minimum(labels, 1))
    with pytest.raises(ValueError, match="at least 2 classes"):
        probe(train_labels=np.zeros(20, int))
    with pytest.raises(ValueError, match="at least 2 images of a class"):
        probe(features[:3], np.arange(3))
    with pytest.raises(ValueError, match="`learning_rates`.*positive"):
        probe(learning_rates=(0.0,))
    with pytest.raises(ValueError, match="`weight_decays`.*0 or more"):
        probe(weight_decays=0.1)
    with pytest.raises(ValueError, match="`epochs`"):
        probe(epochs=0)
    with pytest.raises(ValueError, match="`seed`"):
        probe(seed=-1)
    with pytest.raises(ValueError, match="`num_classes`"):
        LinearProbeModel(3, 1)
