import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_training_curves, save_figure  # noqa: E402

CAPTION = "iwm_tiny_32 on photos, seed 0, " + "and more of what it is " * 6


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_the_suffix_decides_the_kind(suffix, begin, tmp_path):
    path = tmp_path / "pictures" / f"curves{suffix}"
    save_figure(plot_training_curves({"loss": [2.0, 1.0]}), path, CAPTION)
    content = path.read_bytes()
    assert content.startswith(begin)
    if suffix == ".svg":  # as text, not as outlines
        assert b"iwm_tiny_32 on photos, seed 0" in content


def test_a_caption_takes_as_many_lines_as_it_needs(tmp_path):
    figure = plot_training_curves({"loss": [2.0, 1.0]})
    save_figure(figure, tmp_path / "curves.png", CAPTION)
    lines = figure._supxlabel.get_text().split("\n")
    assert " ".join(lines) == CAPTION.strip()
    assert all(len(line) <= 14 * figure.get_figwidth() for line in lines)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`path` must end in one of"):
        save_figure(plot_training_curves({"loss": [1.0]}), tmp_path / "curves.jpg")
