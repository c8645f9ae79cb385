import keras
import numpy as np
import pytest

from keras_iwm.actions import ColorJitter
from keras_iwm.evaluation import RetrievalBank


def test_parameters_are_the_seed_s_uniforms_in_the_jitter_s_ranges():
    # The same closed form on every backend, so the same bank on every backend.
    parameters = RetrievalBank(size=5, seed=7).parameters(3)
    assert parameters.shape == (3, 5, 4)
    assert parameters.dtype == np.float32
    for index in range(3):
        generator = np.random.default_rng([7, index])
        uniforms = generator.random((5, 5), dtype="float32")[:, 1:]
        ranges = np.array([0.4, 0.4, 0.2, 0.1])
        expected = [1, 1, 1, 0] + ranges * (2 * uniforms.astype("float64") - 1)
        assert np.allclose(parameters[index], expected, atol=3e-7)


def test_an_image_s_bank_does_not_depend_on_how_many_follow():
    bank = RetrievalBank(size=6)
    assert np.array_equal(bank.parameters(2), bank.parameters(5)[:2])


def test_images_and_seeds_have_banks_of_their_own():
    first, second = RetrievalBank(size=6).parameters(2)
    assert np.abs(first - second).max() > 0.05
    assert np.abs(first - RetrievalBank(size=6, seed=1).parameters(1)).max() > 0.05


def test_no_entry_is_left_without_jitter():
    parameters = RetrievalBank().parameters(4)
    assert np.all(np.any(parameters != [1, 1, 1, 0], axis=-1))
    assert len(np.unique(parameters.reshape(-1, 4), axis=0)) == 4 * 256


def test_doubled_bank_reaches_twice_as_far():
    identity = np.array([1, 1, 1, 0], "float32")
    single = RetrievalBank(size=64, seed=3).parameters(2) - identity
    doubled = RetrievalBank.doubled(size=64, seed=3).parameters(2) - identity
    assert np.allclose(doubled, 2 * single, atol=1e-6)


def test_bank_is_rebuilt_from_its_config():
    bank = RetrievalBank(9, [ColorJitter(0.3, 0.2, 0.1, 0.05, probability=1.0)], 11)
    config = keras.saving.serialize_keras_object(bank)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert isinstance(rebuilt, RetrievalBank)
    assert rebuilt.get_config() == bank.get_config()
    assert np.array_equal(rebuilt.parameters(2), bank.parameters(2))


def test_slot_parameters_sweep_one_slot_evenly():
    parameters = RetrievalBank().slot_parameters("saturation", 5)
    assert np.allclose(parameters[:, 2], [0.8, 0.9, 1.0, 1.1, 1.2])
    assert np.array_equal(parameters[:, [0, 1, 3]], [[1, 1, 0]] * 5)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"size": 1}, "size"),
        ({"shared": [ColorJitter()]}, "probability"),
        ({"shared": "ColorJitter"}, "shared"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, name):
    with pytest.raises(ValueError, match=name):
        RetrievalBank(**arguments)


def test_unknown_slot_is_refused():
    with pytest.raises(ValueError, match="slot"):
        RetrievalBank().slot_parameters("gamma")
