"""All pages of the site: paths, texts, and where they stand in the navigation.

The site has the folders of the repository, so that a link between two files is good in
both places. A link to a program leads to a page that shows it.
"""

import posixpath
import re

from guide_cells import cells_of, header_of, notebook_of, page_of
from public_names import ROOT, rooms

LINK = re.compile(r"\]\(([^)#:\s]+)")
GUIDE_NOTE = """\
*{Author}, last modified {Last modified}.* {Description}

!!! note "Run it to see its numbers and pictures"
    This page shows the guide's text and code; the pictures are made when it runs.
    Download the [notebook]({stem}.ipynb) or the [program]({stem}.py).
    `KERAS_IWM_REDUCED=1` in the environment makes a quick run on little data, whose
    results mean nothing.
"""
README = (ROOT / "README.md").read_text()
TYPE_ALIASES = "reference/type_aliases.md"


def stems(folder, suffix):
    """Names of a folder's files, those that the README has first, in its order."""

    def place(stem):
        return README.find(f"]({folder}/{stem}{suffix})") % (len(README) + 1), stem

    return sorted((path.stem for path in (ROOT / folder).glob(f"*{suffix}")), key=place)


GUIDES = stems("guides", ".py")
DOCUMENTS = stems("docs", ".md")


def guide_page(stem):
    """Markdown of a guide."""
    (_, *cells) = all_cells = cells_of((ROOT / f"guides/{stem}.py").read_text())
    header = header_of(all_cells)
    note = GUIDE_NOTE.format(stem=stem, **header)
    return f"# {header['Title']}\n\n{note}\n{page_of(cells)}\n"


def program_page(path):
    """Markdown of a program: its docstring, then its code."""
    return f"# `{path}`\n\n{page_of(cells_of((ROOT / path).read_text()))}\n"


def reference_pages():
    """Dictionary of paths and Markdown: an overview, each room, each public name."""
    overview = "# Reference\n\nEvery public name of `keras_iwm`, by room.\n\n"
    overview += "Signatures have types; [some have names](type_aliases.md).\n\n"
    heading = "    options:\n      heading: keras_iwm.type_aliases\n"
    pages = {TYPE_ALIASES: f"::: keras_iwm.type_aliases\n{heading}"}
    for room in rooms():
        overview += f"## [`keras_iwm.{room.name}`]({room.name}/index.md)\n\n"
        table = f"{room.summary}\n\n| name | what it is |\n|---|---|\n"
        for public in room.public_names:
            summary = public.summary.replace("|", r"\|")
            table += f"| [`{public.name}`]({public.name}.md) | {summary} |\n"
            pages[f"reference/{room.name}/{public.name}.md"] = (
                f"::: {public.definition}\n    options:\n"
                f"      heading: keras_iwm.{room.name}.{public.name}\n"
                f"      toc_label: {public.name}\n"
            )
        pages[f"reference/{room.name}/index.md"] = f"# keras_iwm.{room.name}\n\n{table}"
        overview += table.replace("](", f"]({room.name}/") + "\n"
    return {"reference/index.md": overview, **pages}


def programs(folder):
    """Paths of a folder's programs."""
    return [f"{folder}/{path.name}" for path in sorted((ROOT / folder).glob("*.py"))]


def pages():
    """Dictionary of paths on the site and Markdown."""
    found = {f"guides/{stem}.md": guide_page(stem) for stem in GUIDES}
    for path in (*programs("examples"), *programs("recipes")):
        found[path.replace(".py", ".md")] = program_page(path)
    documents = [f"docs/{stem}.md" for stem in DOCUMENTS]
    for path in ("README.md", "CHANGELOG.md", "recipes/README.md", *documents):
        found[path] = (ROOT / path).read_text()
    # Home has nothing beside it, the column of its navigation would be empty.
    found["README.md"] = f"---\nhide: [navigation]\n---\n{README}"
    found["LICENSE.md"] = f"# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text()}```\n"
    found = {path: with_links(path, text, found) for path, text in found.items()}
    return found | reference_pages()


def with_links(path, text, found):
    """The text, with links to files that are shown on a page leading to that page."""

    def mended(match):
        target = match[1]
        page = posixpath.splitext(target)[0] + ".md"
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), page))
        is_download = path.startswith("guides/")
        return f"]({page}" if there in found and not is_download else match[0]

    return LINK.sub(mended, text)


def downloads():
    """Dictionary of paths on the site and contents: guides to be run."""
    found = {}
    for stem in GUIDES:
        guide = (ROOT / f"guides/{stem}.py").read_text()
        found |= {
            f"guides/{stem}.py": guide,
            f"guides/{stem}.ipynb": notebook_of(guide),
        }
    return found


def navigation():
    """The tree of titles and paths that MkDocs shows."""
    reference = ["reference/index.md"]
    for room in rooms():
        folder = f"reference/{room.name}"
        names = [{name.name: f"{folder}/{name.name}.md"} for name in room.public_names]
        reference.append({room.name: [f"{folder}/index.md", *names]})
    reference.append({"Types": TYPE_ALIASES})
    examples = [shown(path) for path in programs("examples")]
    recipes = ["recipes/README.md", *map(shown, programs("recipes"))]
    return [
        {"Home": "README.md"},
        {"Guides": [f"guides/{stem}.md" for stem in GUIDES]},
        {"Reference": reference},
        {"Documents": [f"docs/{stem}.md" for stem in DOCUMENTS]},
        {"Programs": [{"Examples": examples}, {"Recipes": recipes}]},
        {"About": [{"Changelog": "CHANGELOG.md"}, {"Licence": "LICENSE.md"}]},
    ]


def shown(path):
    """A program's line in the navigation."""
    return {posixpath.basename(path): path.replace(".py", ".md")}
