"""What processes that train one model ask each other, where there is only one."""


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
