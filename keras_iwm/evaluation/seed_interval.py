"""A mean over runs of other seeds, and how sure it is."""

import numpy as np

# 97.5 % quantiles of Student's t, for 1, 2, ... degrees of freedom.
_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def seed_interval(values):
    """Mean of a few runs, with a 95 % interval by Student's t.

    With three runs it is 2.5 standard deviations to either side: few seeds say
    little, and the interval says how little. It takes the runs for draws from a normal
    distribution.

    Args:
        values: Sequence of at least one float, one a run.

    Returns:
        Dictionary of `mean`, `low` and `high`, floats, and `n`, the number of runs. Of
        one run `low` and `high` are `None`: nothing is known of other seeds.
    """
    values = np.asarray(values, "float64")
    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return {"mean": mean, "low": None, "high": None, "n": 1}
    margin = float(t_quantile(count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return {"mean": mean, "low": mean - margin, "high": mean + margin, "n": count}


def t_quantile(degrees):
    """The 97.5 % quantile of Student's t; beyond 30 degrees up to 4 % too large."""
    return _QUANTILES[min(degrees, len(_QUANTILES)) - 1]
