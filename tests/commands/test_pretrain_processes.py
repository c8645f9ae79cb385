"""`keras-iwm pretrain` in two processes: one writes, a signal stops both."""

import json
import signal
import time

import keras
import numpy as np
import pytest
from together import start_together, wait_for

from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.command_line import main

BACKEND = keras.backend.backend()


def pretrain(folder, *options):
    words = ("-m", "keras_iwm", "pretrain", *options)
    return start_together(list(map(str, words)), cwd=folder)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="one process, see the test below")
def test_a_signal_to_one_process_stops_all_and_the_run_goes_on(tmp_path, capsys):
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (44, 16, 16, 3), "uint8")
    np.savez(tmp_path / "images.npz", images=images)
    options = ("--data", tmp_path / "images.npz", "--image-size", 16, "--patch-size", 4)
    options += ("--settings", "num_layers=1", "predictor_layers=1")
    options += ("--batch-size", 4, "--epochs", 4000, "--evaluate-every", 4000)
    options += ("--retrieval-images", 2, "--no-measurements", "--output", "run")
    processes = pretrain(tmp_path, *options)
    end = time.monotonic() + 100
    run = tmp_path / "run"
    while not RunCheckpoint.latest(run / "checkpoints") and time.monotonic() < end:
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    for code, printed in wait_for(processes):
        assert code == 143, printed[-3000:]
    _, epoch, step = RunCheckpoint.latest(run / "checkpoints")
    if epoch:
        history = (run / "history.csv").read_text().splitlines()
        assert len(history) == 1 + epoch
    config = json.loads((run / "config.json").read_text())
    config["epochs"] = epoch + 2
    (run / "config.json").write_text(json.dumps(config))
    main(["pretrain", "--resume", str(run)])  # one process goes on
    assert f"Resuming after epoch {epoch}, step {step}" in capsys.readouterr().out
    history = (run / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history[1:]] == [
        str(number) for number in range(epoch + 2)
    ]
    model = keras.models.load_model(run / "model.keras")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others train")
def test_tensorflow_refuses_several_processes():
    place = (
        "--coordinator",
        "one:1234",
        "--num-processes",
        "2",
        "--process-index",
        "0",
    )
    with pytest.raises(SystemExit, match="Use KERAS_BACKEND=jax or torch"):
        main(["pretrain", "--data", "cifar10", *place])
