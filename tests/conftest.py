"""What all tests share."""

import atexit
import gc
import importlib.util
import os
import pathlib
import shutil
import tempfile

# TensorFlow imported before torch can crash the process.
if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

os.environ.setdefault("KERAS_BACKEND", "jax")
# Most of the time here goes into compiling small models: let XLA optimise less, with
# its older emitters, which compile quicker. The tests across backends, in processes of
# their own, run what a user runs.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
)
# Many tests compile the same model: what one test compiled, the others load, in all
# processes that it and pytest start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled_")
    atexit.register(
        shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True
    )
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import pytest

# What asks nothing of a backend, or what each backend is asked elsewhere: it runs on
# the one that is quickest to start. Guides draw pictures on each; files are read, and
# arguments refused, before a backend sees them. Answers and samples of heads are
# compared with NumPy on each; that they learn is seen on one.
ONE_BACKEND = "torch"
ON_ONE_BACKEND = (
    "commands/test_compare.py",
    "datasets/test_bad_files.py",
    "datasets/test_check_folder.py",
    "datasets/test_damaged_files.py",
    "datasets/test_damaged_shards.py",
    "datasets/test_draw_twins.py",
    "datasets/test_find_images.py",
    "datasets/test_image_shards.py",
    "datasets/test_load_images.py",
    "datasets/test_load_segmentation.py",
    "datasets/test_moving_photos.py",
    "datasets/test_pack_folder.py",
    "datasets/test_pack_parquet.py",
    "datasets/test_sample_photos.py",
    "datasets/test_shard_order.py",
    "evaluation/test_planning_report.py",
    "datasets/test_videos.py",
    "heads/test_heads_learn.py",
    "models/test_autoregressive_presets.py",
    "saving/test_check_file.py",
    "sizing/",
    "test_arguments.py",
    "test_docstring_examples.py",
    "test_sizes.py",
    "test_types.py",
    "views/test_patch_order.py",
    "visualization/",
)


def pytest_collection_modifyitems(items):
    """Skip on other backends what runs on one."""
    if keras.backend.backend() == ONE_BACKEND:
        return
    skip = pytest.mark.skip(reason=f"runs on {ONE_BACKEND}: nothing differs here")
    tests = pathlib.Path(__file__).parent
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        if path.startswith(ON_ONE_BACKEND):
            item.add_marker(skip)


def pytest_collection_finish():
    """Spare the garbage collector what imports have made.

    Keras calls it for every layer that it quantises, and it took a third of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_start():
    """Give every test the same random initial weights, whatever ran before."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
