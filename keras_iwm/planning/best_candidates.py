"""The best of many candidates, a few at a time."""

from keras import ops


def best_candidates(energies_of, candidates):
    """Find each goal's candidate of the lowest energy, round after round.

    Args:
        energies_of: Function from actions `(goals, candidates, steps, action_dim)` to
            energies `(goals, candidates)`.
        candidates: Tensor `(goals, rounds, candidates, steps, action_dim)`; memory
            holds those of one round.

    Returns:
        Tensor `(goals, rounds, steps, action_dim)`, the best one so far.
    """

    def compare(best, candidates):
        actions, energy = best
        energies = energies_of(candidates)
        place = ops.argmin(energies, axis=1)[:, None]
        lowest = ops.take_along_axis(energies, place, axis=1)
        chosen = ops.take_along_axis(candidates, place[..., None, None], axis=1)
        better = lowest < energy
        actions = ops.where(better[..., None], chosen[:, 0], actions)
        energy = ops.where(better, lowest, energy)
        # On TensorFlow, what is kept must be as many tensors as what goes on.
        return (actions, energy), (actions, energy)

    rounds = ops.moveaxis(candidates, 1, 0)
    start = (
        ops.zeros_like(rounds[0, :, 0]),
        ops.full_like(rounds[0, :, 0, 0, :1], float("inf")),
    )
    _, (history, _) = ops.scan(compare, start, rounds)
    return ops.moveaxis(history, 0, 1)
