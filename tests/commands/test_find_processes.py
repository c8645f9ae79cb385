"""Which processes train together, as launchers say it."""

import argparse

import keras
import pytest

from keras_iwm.commands.find_processes import find_processes

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no backend is asked"
)
SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_JOB_ID": "8195"}


def find(environment, *given):
    names = ("coordinator", "num_processes", "process_index")
    given = given or (None, None, None)
    arguments = argparse.Namespace(**dict(zip(names, given, strict=True)))
    return find_processes(arguments, environment)


def test_a_process_alone_finds_none():
    assert find({}) is None
    assert find({"SLURM_NTASKS": "1"}) is None
    assert find(SLURM) is None  # of sbatch, before srun
    assert find({"TPU_WORKER_HOSTNAMES": "one"}) is None
    assert find({}, "one:1234", 1, 0) is None


def test_launchers_say_where_processes_meet():
    torchrun = {"MASTER_ADDR": "one", "MASTER_PORT": "5", "RANK": "1"}
    assert find({**torchrun, "WORLD_SIZE": "2"}) == ("one:5", 2, 1)
    assert find({"TPU_WORKER_HOSTNAMES": "one,two"}) == (None, None, None)
    assert find({}, "auto", None, None) == (None, None, None)
    assert find(SLURM, "one:1234", 2, 1) == ("one:1234", 2, 1)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node7,node9", "node7"),
        ("node[07-11,15],other3", "node07"),
        ("a-b7,node[1-2]", "a-b7"),
        ("rack-2-[3,5]", "rack-2-3"),
    ],
)
def test_slurm_names_its_first_node(nodes, first):
    place = find({**SLURM, "SLURM_STEP_NODELIST": nodes})
    assert place == (f"{first}:{61_440 + 3}", 4, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("one:1234", 2, None), "go together"),
        ((None, 2, 1), "go together"),
        (("one", 2, 1), "must be HOST:PORT"),
        (("one:1234", 2, 2), "must be from 0 to 1"),
        (("one:1234", 2, -1), "must be from 0 to 1"),
    ],
)
def test_what_cannot_be_meant_ends_the_program(given, words):
    with pytest.raises(SystemExit, match=words):
        find({}, *given)
