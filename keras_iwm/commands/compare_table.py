"""What `keras-iwm compare` writes of its runs: means, a table, points of a picture."""

from keras_iwm.evaluation.seed_interval import seed_interval

# Column: the measurement's name, what it is multiplied by, and digits.
COLUMNS = {
    "kNN %": ("knn", 100, 1),
    "linear %": ("linear", 100, 1),
    "attentive %": ("attentive", 100, 1),
    "1 % labels %": ("one_percent", 100, 1),
    "finetuned %": ("finetuned", 100, 1),
    "predictor finetuned %": ("predictor_finetuned", 100, 1),
    "MRR": ("mrr", 1, 3),
    "action R2": ("action_r2", 1, 3),
    "RankMe": ("rankme", 1, 1),
}


def summarize(runs):
    """Return mean and interval of each measurement that all runs of a method have.

    Args:
        runs: Dictionary from a method's name to a dictionary from a seed to a run's
            measurements.

    Returns:
        Dictionary from a method's name to a dictionary from a measurement's name to
        what `seed_interval` returns.
    """
    return {
        method: {
            name: seed_interval([run[name] for run in by_seed.values()])
            for name in next(iter(by_seed.values()))
        }
        for method, by_seed in runs.items()
    }


def markdown_table(summary):
    """Return the lines of a Markdown table of what `summarize` returned."""
    header = ["method", "seeds", *COLUMNS]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for method, values in summary.items():
        cells = [
            cell(values[name], scale, digits) if name in values else "–"
            for name, scale, digits in COLUMNS.values()
        ]
        count = next(iter(values.values()))["n"]
        lines.append("| " + " | ".join([method, str(count), *cells]) + " |")
    return lines


def cell(interval, scale, digits):
    """Return `mean ± half the interval`, or of one run the mean alone."""
    text = f"{scale * interval['mean']:.{digits}f}"
    if interval["n"] > 1:
        margin = interval["high"] - interval["mean"]
        text += f" ± {scale * margin:.{digits}f}"
    return text


def picture_points(runs):
    """Return each run's equivariance, linear and finetuned accuracy, by method."""
    names = ("action_r2", "linear", "finetuned")
    return {
        method: [tuple(run[name] for name in names) for run in by_seed.values()]
        for method, by_seed in runs.items()
    }
