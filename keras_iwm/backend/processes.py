"""What processes that train one model ask each other, where there is only one."""

import contextlib


def count_processes():
    """Processes that train together."""
    return 1


def process_index():
    """Which of them this one is; the first one, 0, writes files."""
    return 0


def ask_all(number):
    """Begin to ask all processes for the largest of their numbers; all must ask.

    Args:
        number: Integer from 0 to 2**31 - 1, this process's.

    Returns:
        Function without arguments that waits for the answer, an integer.
    """
    return lambda: number


def settle(model):
    """Make what processes hold of a model the same; all must ask.

    Args:
        model: `keras.Model`.
    """


@contextlib.contextmanager
def alone(model):
    """Context in which a process needs no other one to use or save a model.

    All processes enter it together. What the model learns inside is lost.

    Args:
        model: `keras.Model`.
    """
    yield
