"""Which processes train together, and where they meet."""

import re
import sys

BY_ITSELF = (None, None, None)  # JAX finds it out


def find_processes(arguments, environment):
    """Ask the options, then what launchers have set.

    Args:
        arguments: Namespace with `coordinator`, `num_processes`, `process_index`.
        environment: Dictionary of variables.

    Returns:
        Tuple of the coordinator's `"host:port"`, how many processes there are, and
        which of them this is; of three times `None` if JAX is to find out. `None` for
        a process alone.
    """
    given = arguments.coordinator, arguments.num_processes, arguments.process_index
    if given == ("auto", None, None) or "," in environment.get(
        "TPU_WORKER_HOSTNAMES", ""
    ):
        return BY_ITSELF
    if given != BY_ITSELF:
        return check_given(*given)
    count = int(environment.get("WORLD_SIZE", 1))  # of torchrun
    if count > 1:
        place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
        return place, count, int(environment["RANK"])
    count = int(environment.get("SLURM_NTASKS", 1))
    if count > 1 and "SLURM_STEP_NODELIST" in environment:  # of srun, not of sbatch
        # Such as node7, node7,node9 or node[07-11,15],other3.
        nodes = environment["SLURM_STEP_NODELIST"]
        first = re.match(r"([^,\[]*)(?:\[([^,\]-]*))?", nodes).groups("")
        port = 61_440 + int(environment["SLURM_JOB_ID"]) % 4096
        return f"{''.join(first)}:{port}", count, int(environment["SLURM_PROCID"])
    return None


def check_given(coordinator, count, index):
    """Return the three options, or end the program if they cannot be meant."""
    if None in (coordinator, count, index):
        sys.exit(
            "--coordinator, --num-processes and --process-index go together; only "
            "--coordinator auto goes alone, on JAX"
        )
    if not re.fullmatch(r".+:\d+", coordinator):
        sys.exit(f"--coordinator {coordinator}: must be HOST:PORT, such as node1:1234")
    if not 0 <= index < count:
        sys.exit(f"--process-index {index}: must be from 0 to {count - 1}")
    return (coordinator, count, index) if count > 1 else None
