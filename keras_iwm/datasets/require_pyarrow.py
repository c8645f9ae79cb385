"""A clear error where pyarrow is not installed."""


def require_pyarrow(way_round=""):
    """Raises a clear error if pyarrow is not installed.

    Args:
        way_round: String, what to do without it.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Parquet files need pyarrow: `pip install pyarrow`{way_round}."
        ) from error
