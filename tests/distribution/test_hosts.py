"""Processes of JAX train what one device trains, as they do on several hosts."""

import pathlib

import keras
import numpy as np
import pytest
from together import start_together, wait_for

from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.saving import load_model

WORKER = pathlib.Path(__file__).with_name("hosts_worker.py")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="processes of Torch are in test_distribution.py; TensorFlow has none",
)


@pytest.mark.parametrize(("count", "num_devices"), [(2, 2), (4, 1)])
def test_processes_train_what_one_device_trains(tmp_path, count, num_devices):
    words = [str(WORKER), str(tmp_path)]
    processes = start_together(words, count, num_devices)
    for code, printed in wait_for(processes):
        assert code == 0, printed[-3000:]
    results = []
    for rank in range(count):
        with np.load(tmp_path / f"process_{rank}.npz") as arrays:
            results.append(dict(arrays))
    for one in results:
        found = one["devices"], one["own_devices"], one["largest"]
        assert found == (4, num_devices, 7)
        for name in ("copies", "parts"):
            # The same images give the same views, so numbers are those of one device.
            # A rank of features amplifies rounding.
            for what, bound in (("loss", 1e-6), ("values", 1e-6), ("rankme", 1e-4)):
                np.testing.assert_allclose(
                    one[f"{what}_{name}"],
                    one[f"{what}_alone"],
                    rtol=bound,
                    atol=bound,
                )
            np.testing.assert_array_equal(
                one[f"values_{name}"], results[0][f"values_{name}"]
            )
        assert one["held_copies"] == 1
        assert one["held_parts"] < 0.5
    # The first process has written the one whole, all their parts of the other.
    shards = sorted((tmp_path / "parts" / "epoch_0001").glob("shard_*"))
    assert len(shards) == count
    sizes = [shard.stat().st_size for shard in shards]
    assert max(sizes) < 1.2 * min(sizes)
    for name in ("copies", "parts"):
        path, epoch, _ = RunCheckpoint.latest(tmp_path / name)
        assert epoch == 1
        model = load_model(path)
        values = [np.ravel(weight) for weight in model.encoder.get_weights()]
        np.testing.assert_array_equal(
            np.concatenate(values), results[0][f"encoder_{name}"]
        )
