"""Numbers that JSON can hold."""

import numpy as np


def without_nan(report):
    """The report with None for numbers that JSON cannot hold."""
    if isinstance(report, dict):
        return {name: without_nan(value) for name, value in report.items()}
    if isinstance(report, float) and not np.isfinite(report):
        return None
    return report
