"""Seeds made from other numbers."""


def hash_seed(seed, index):
    """A seed of 31 bits from two integers: splitmix64, twice.

    On Torch the draws of seed 1 are those of seed 0 one step later, so seeds that
    belong together must not be neighbours.
    """
    state = seed
    for number in (0, index):
        state = (state + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state % 2**31
