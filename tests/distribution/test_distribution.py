"""Several devices train what one device trains, on the backend that runs.

They are virtual devices of the CPU, or processes, in a worker of its own. It takes
long to start, so it does everything at once, and one test looks at all its numbers.
"""

import itertools
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_iwm.datasets import ImageArray
from keras_iwm.seeds import hash_seed

WORKER = pathlib.Path(__file__).with_name("worker.py")
BACKEND = keras.backend.backend()
COUNTS = (2, 4, 8) if BACKEND == "jax" else (2,)


def test_several_devices_train_what_one_device_trains(tmp_path):
    results = run_worker(tmp_path)
    for count in COUNTS:
        check_losses_and_weights_are_those_of_one_device(results, count)
        # All devices hold the same weights, teacher, metrics and seeds.
        assert results[f"apart_{count}"] == 0
    check_a_classifier_is_tuned_as_on_one_device(results)
    check_images_are_compared_over_all_devices(results)
    check_variances_are_of_the_images_of_all_devices(results)
    check_a_run_goes_on_with_more_or_fewer_devices(results)
    check_every_device_draws_its_own_views_masks_and_paths(results)
    check_all_devices_skip_what_one_of_them_cannot_take(results)
    if BACKEND == "jax":
        check_any_number_of_images_is_measured(results)
        check_split_models_train_alike_and_are_split(results)
        check_what_cannot_be_split_is_refused_in_words(results)
    elif BACKEND == "tensorflow":
        check_accumulation_is_refused_before_anything_changes(results)
    else:
        check_processes_log_and_evaluate_the_whole_batch(results)


def run_worker(folder):
    launcher = []
    if BACKEND == "torch":
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", "2"]
    flags = os.environ.get("XLA_FLAGS", "")
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(folder)],
        env={
            **os.environ,
            "KERAS_BACKEND": BACKEND,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(WORKER.parents[2]),
            "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "results.npz") as arrays:
        return dict(arrays)


def check_losses_and_weights_are_those_of_one_device(results, count):
    for name in ("loss", "weights"):
        np.testing.assert_allclose(
            results[f"{name}_{count}"], results[f"{name}_1"], rtol=1e-6, atol=1e-6
        )
    before, after = results["loss_1"]
    assert after < before


def check_a_classifier_is_tuned_as_on_one_device(results):
    for name in ("tuning_loss", "tuned"):
        np.testing.assert_allclose(
            results[f"{name}_2"], results[f"{name}_1"], rtol=1e-6, atol=1e-6
        )


def check_images_are_compared_over_all_devices(results):
    # Batch norms of eight rows amplify rounding.
    for name in ("loss", "weights", "evaluation"):
        np.testing.assert_allclose(
            results[f"contrastive_{name}_2"],
            results[f"contrastive_{name}_1"],
            rtol=1e-5,
            atol=1e-5,
        )


def check_variances_are_of_the_images_of_all_devices(results):
    for name in ("loss", "weights"):
        np.testing.assert_allclose(
            results[f"regularized_{name}_2"],
            results[f"regularized_{name}_1"],
            rtol=1e-5,
            atol=1e-5,
        )


def check_a_run_goes_on_with_more_or_fewer_devices(results):
    for destination in (1, COUNTS[-1]):
        np.testing.assert_allclose(
            results[f"weights_moved_to_{destination}"], results["weights_1"], atol=1e-6
        )


def check_every_device_draws_its_own_views_masks_and_paths(results):
    for name in ("actions", "target_ids", "dropped"):
        for one, other in itertools.combinations(results[name], 2):
            assert np.any(one != other), name
    assert len(results["actions"]) == COUNTS[-1]
    # The seed has advanced by one draw: a checkpoint holds one state for all.
    np.testing.assert_array_equal(results["seeds"], [[hash_seed(3, 0), 1]])


def check_all_devices_skip_what_one_of_them_cannot_take(results):
    for name in ("state", "loss"):
        np.testing.assert_array_equal(
            results[f"{name}_skipped"], results[f"{name}_left_out"]
        )
    assert np.isfinite(results["state_skipped"]).all()
    assert results["apart_skipped"] == 0


def check_any_number_of_images_is_measured(results):
    np.testing.assert_array_equal(results["ranks_2"], results["ranks_1"])
    np.testing.assert_allclose(results["features_2"], results["features_1"], atol=1e-5)


def check_split_models_train_alike_and_are_split(results):
    for name in ("split", "of_shards"):
        np.testing.assert_allclose(
            results[f"weights_{name}"], results["weights_1"], atol=1e-6
        )
    shares = dict(zip(results["split_paths"], results["split_shares"], strict=True))
    assert set(shares.values()) == {0.5, 1.0}
    split = {str(path) for path, share in shares.items() if share == 0.5}
    # Of each block of student, teacher and predictor, and of the optimizer's slots.
    weights = {
        f"{part}/block_{index:02d}/{name}"
        for part, depth in (("encoder", 2), ("target_encoder", 2), ("predictor", 1))
        for index in range(depth)
        for name in (
            *("attention/query_key_value/kernel", "attention/output_projection/kernel"),
            *("attention/query_bias", "attention/value_bias"),
            *("mlp_hidden/kernel", "mlp_hidden/bias", "mlp_output/kernel"),
        )
    }
    assert weights <= split
    assert {path.split("/", 1)[1] for path in split - weights} == {
        path.replace("/", "_") + "_momentum"
        for path in weights
        if not path.startswith("target_encoder")
    }


def check_what_cannot_be_split_is_refused_in_words(results):
    for refused, words in (
        ("heads", "`num_heads` must be a multiple of the 2 devices.*num_heads=3"),
        ("mlp", "`mlp_dim` must be a multiple of the 2 devices.*mlp_dim=7"),
        ("mesh", '`device_mesh` must have an axis "model".*batch'),
    ):
        assert re.match(words, str(results[f"refused_{refused}"]))


def check_accumulation_is_refused_before_anything_changes(results):
    assert str(results["refused_accumulation"]).startswith(
        "`gradient_accumulation_steps` must be None with several replicas"
    )
    assert results["changed_by_refusal"] == 0


def check_processes_log_and_evaluate_the_whole_batch(results):
    np.testing.assert_array_equal(*results["losses_of_ranks"])
    np.testing.assert_allclose(results["evaluated_2"], results["evaluated_1"], 1e-6)


def test_shares_of_a_batch_make_up_the_batch():
    images = np.arange(10, dtype="uint8").repeat(3).reshape(10, 1, 1, 3)
    (whole,) = ImageArray(images, batch_size=4)[1]
    shares = []
    for rank in range(2):
        dataset = ImageArray(images, batch_size=4)
        dataset.share = (rank, 2)
        assert dataset.num_batches == 2
        shares.append(dataset[1][0])
    np.testing.assert_array_equal(np.stack(shares, 1).reshape(whole.shape), whole)
    for share in ((2, 2), (0, 3)):
        with pytest.raises(ValueError, match="`share`"):
            dataset.share = share
