"""Pictures as files, for a screen or for a paper."""

import textwrap

from keras_iwm.arguments import as_name, as_object, as_optional, as_path
from keras_iwm.type_aliases import Figure, Path
from keras_iwm.visualization.figure import TEXT_SIZE

_SUFFIXES = (".png", ".pdf", ".svg")
# Text that a reader can search for and an editor can change.
_STYLE = {"pdf.fonttype": 42, "svg.fonttype": "none"}
_DENSITY = 14  # Characters of a caption in an inch of width.


def save_figure(figure: Figure, path: Path, caption: str | None = None) -> None:
    """Saves a picture as PNG, PDF or SVG, with a caption that says what it shows.

    A picture outlives the folder that it was made in: let the caption name the model,
    the data and the seed. In PDF and SVG text stays text, and lines stay lines.

    Args:
        figure: `matplotlib.figure.Figure`, as all functions here return it.
        path: Path of the file, ending in `.png`, `.pdf` or `.svg`. Its folder is made
            if missing.
        caption: Optional string, written below the picture, in as many lines as it
            takes.

    Raises:
        ValueError: If the path has another suffix.

    Example:

    ```python
    import os, tempfile
    from keras_iwm.visualization import plot_training_curves, save_figure

    figure = plot_training_curves({"loss": [0.9, 0.6, 0.5]})
    path = os.path.join(tempfile.mkdtemp(), "curves.pdf")
    save_figure(figure, path, caption="iwm_tiny_32 on CIFAR-10, seed 0")
    ```
    """
    as_object("figure", figure, ("savefig", "supxlabel"), "a matplotlib figure")
    path = as_path("path", path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"`path` must end in one of {_SUFFIXES}. Received: {str(path)!r}."
        )
    if as_optional(as_name, "caption", caption) is not None:
        width = max(20, int(_DENSITY * figure.get_figwidth()))
        lines = textwrap.wrap(caption, width)
        figure.supxlabel("\n".join(lines), fontsize=TEXT_SIZE, color="0.25")
        # Room of its own, or titles would be pushed over the edge.
        figure.set_figheight(figure.get_figheight() + 0.15 + 0.17 * len(lines))
    from matplotlib import rc_context

    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):
        figure.savefig(path)
