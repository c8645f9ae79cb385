"""The site: guides as pages and notebooks, and a page for every public name."""

import inspect
import json
import pathlib
import re

import keras
import pytest
from guide_cells import cells_of, notebook_of, page_of
from pages import downloads, navigation, pages

import keras_iwm

ROOT = pathlib.Path(__file__).parents[1]
GUIDES = sorted((ROOT / "guides").glob("*.py"))
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="once is enough"
)


def leaves(tree):
    """Paths of all pages in the navigation."""
    if isinstance(tree, str):
        return [tree]
    branches = tree.values() if isinstance(tree, dict) else tree
    return [path for branch in branches for path in leaves(branch)]


def code_lines(text):
    return [line for line in text.splitlines() if line.strip()]


def test_cells_are_told_by_strings_that_stand_alone():
    program = '"""One."""\nx = """\nno cell\n"""\n\n"""\nTwo\n"""\nprint(x)\n'
    assert cells_of(program) == [
        ("markdown", "One."),
        ("code", 'x = """\nno cell\n"""'),
        ("markdown", "Two"),
        ("code", "print(x)"),
    ]
    assert page_of(cells_of(program)[2:]) == "Two\n\n```python\nprint(x)\n```"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_notebook_has_all_of_its_guide(guide):
    text = guide.read_text()
    notebook = json.loads(notebook_of(text))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)
    assert all(re.fullmatch("[a-zA-Z0-9-_]{1,64}", name) for name in identities)
    for cell in notebook["cells"]:
        code_alone = {"outputs", "execution_count"} & set(cell)
        assert len(code_alone) == (2 if cell["cell_type"] == "code" else 0)

    # In these guides triple quotes are those of cells alone: see test_guides.py.
    pieces = text.split('"""')
    for kind, expected in (("code", pieces[2::2]), ("markdown", pieces[3::2])):
        found = [
            "".join(cell["source"])
            for cell in notebook["cells"]
            if cell["cell_type"] == kind
        ]
        if kind == "markdown":
            title, *found = found
            assert title.startswith("# ")
        assert code_lines("\n".join(found)) == code_lines("\n".join(expected))


def test_every_public_name_has_a_page_in_the_navigation():
    shown = set(leaves(navigation()))
    for room_name, room in vars(keras_iwm).items():
        # `backend` is no public room, though it hangs on the package once imported.
        if not inspect.ismodule(room) or not hasattr(room, "__path__"):
            continue
        if room_name == "backend":
            continue
        for name, value in vars(room).items():
            if not name.startswith("_") and not inspect.ismodule(value):
                assert f"reference/{room_name}/{name}.md" in shown, name


def test_navigation_and_pages_are_the_same():
    found = pages()
    assert sorted(leaves(navigation())) == sorted(found)
    for path in (*ROOT.glob("docs/*.md"), *GUIDES, *ROOT.glob("examples/*.py")):
        page = path.relative_to(ROOT).with_suffix(".md").as_posix()
        assert found[page].lstrip().startswith("# "), page
    for path, text in found.items():
        assert not re.search(r"\| +\|\n", text) or "reference" not in path, path


def test_links_to_programs_lead_to_their_pages():
    found = pages()
    assert "](guides/train_on_many_devices.md)" in found["README.md"]
    assert "](quickstart.md)" in found["recipes/README.md"]
    stem = GUIDES[0].stem
    assert f"]({stem}.ipynb)" in found[f"guides/{stem}.md"]
    assert downloads()[f"guides/{stem}.py"] == GUIDES[0].read_text()
