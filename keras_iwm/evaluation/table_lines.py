"""Lines of a table of plain text."""

LABEL_WIDTH = 30


def line(label, cells, widths):
    """One row: the label, then its cells, flush right."""
    cells = "".join(
        cell.rjust(width) for cell, width in zip(cells, widths, strict=False)
    )
    return (label.ljust(LABEL_WIDTH) + cells).rstrip()


def words(name):
    """A name of a report in words."""
    return name.replace("_", " ")


def number(value):
    """Three decimals, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def interval(measured):
    """The interval's ends."""
    return f"{measured['low']:.3f} to {measured['high']:.3f}"
