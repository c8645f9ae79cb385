"""Several devices train what one device trains, on the backend that runs.

They are virtual devices of the CPU, or processes, in a worker of its own. It takes
long to start, so it does everything at once, and one test looks at all its numbers.
"""

import importlib.util
import itertools
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_iwm.callbacks import RunCheckpoint
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
    check_every_process_has_written_a_part(tmp_path)
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
        check_accumulated_gradients_are_exchanged_once_an_update(results)
        check_gradients_travel_in_half_precision(results)


@pytest.mark.skipif(BACKEND != "torch", reason="elsewhere one program drives four")
def test_four_processes_train_what_one_trains(tmp_path):
    results = run_worker(tmp_path, 4, "train")
    check_losses_and_weights_are_those_of_one_device(results, 4)
    assert results["apart_4"] == 0
    for destination in (1, 4):
        np.testing.assert_allclose(
            results[f"weights_moved_to_{destination}"], results["weights_1"], atol=1e-6
        )
    assert len(sorted(tmp_path.glob("after_4/epoch_0001/shard_*"))) == 4


def run_worker(folder, num_processes=2, *options):
    launcher = []
    if BACKEND == "torch":
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", str(num_processes)]
    flags = os.environ.get("XLA_FLAGS", "")
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(folder), *options],
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


def check_every_process_has_written_a_part(folder):
    # Of one program for all devices that is all.
    shards = sorted(folder.glob("after_2/epoch_0001/shard_*"))
    assert len(shards) == (2 if BACKEND == "torch" else 1)
    sizes = [shard.stat().st_size for shard in shards]
    assert max(sizes) < 1.1 * min(sizes)


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
    for name in ("split", "of_shards", "of_parts"):
        np.testing.assert_allclose(
            results[f"weights_{name}"], results["weights_1"], atol=1e-6
        )
    assert results["most_pieces"] == 2  # of two copies of each half, one is written
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
    # Of blocks an eighth, and of what is small in this model all.
    assert results["held_of_parts"] < 0.35
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
        ("width", "`hidden_dim` must be a multiple of the 8 devices.*hidden_dim=20"),
        ("axis", '`device_mesh` must have an axis "batch".*model'),
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


def check_accumulated_gradients_are_exchanged_once_an_update(results):
    np.testing.assert_allclose(
        results["accumulated_2"], results["accumulated_1"], rtol=1e-6, atol=1e-6
    )
    assert results["accumulated_apart_2"] == 0
    assert results["accumulated_sent_1"].size == 0
    # Six steps of eight send whether they are finite; metrics are few numbers too.
    sent = results["accumulated_sent_2"]
    assert sent[sent > 10].sum() == 2 * results["accumulated_size"]
    assert (sent > 10).sum() > 4


def check_gradients_travel_in_half_precision(results):
    # Rounded to eight bits, and the same in all copies.
    difference = np.abs(results["weights_half"] - results["weights_1"]).max()
    assert 1e-6 < difference < 1e-3
    assert results["apart_half"] == 0


def test_shares_of_a_batch_make_up_the_batch():
    images = np.arange(10, dtype="uint8").repeat(3).reshape(10, 1, 1, 3)
    (whole,) = ImageArray(images, batch_size=4)[1]
    shares = []
    for rank in range(2):
        dataset = ImageArray(images, batch_size=4)
        dataset.share = (rank, 2)
        assert dataset.num_batches == 2
        shares.append(dataset[1][0])
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    for share in ((2, 2), (0, 3)):
        with pytest.raises(ValueError, match="`share`"):
            dataset.share = share


@pytest.mark.skipif(BACKEND != "torch", reason="only Torch has several processes here")
def test_a_process_killed_while_it_saves_costs_no_more_than_that_save(tmp_path):
    worker = WORKER.with_name("killed_worker.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, worker, tmp_path],
            env={
                **os.environ,
                "KERAS_BACKEND": BACKEND,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(WORKER.parents[2]),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "2",
                "RANK": str(rank),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    codes = [process.returncode for process in processes]
    # The other one does not wait for it for ever.
    assert codes[0], errors
    assert codes[1] == -signal.SIGKILL, errors
    # What was being written is there in part, and does not count.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch_0001",
        "epoch_0002",
    ]
    path, *place = RunCheckpoint.latest(tmp_path)
    assert (pathlib.Path(path).name, place) == ("epoch_0001", [1, 0])
    # One process goes on where two were.
    spec = importlib.util.spec_from_file_location("killed_worker", worker)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, epoch = module.run(tmp_path, 2)
    assert (epoch, int(model.optimizer.iterations)) == (1, 2 * module.STEPS)
    assert len(list((tmp_path / "epoch_0002").iterdir())) == 2  # index, one shard
