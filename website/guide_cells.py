"""Guides in keras.io's format as pages and as notebooks.

A guide is a Python program. A string that stands alone at its outermost level is a
Markdown cell, what stands between two of them is a code cell. The first one of a guide
is its header, lines of `Name: value`.
"""

import ast
import hashlib
import json


def cells_of(program):
    """List of pairs, `"markdown"` or `"code"` and the text, of a program's text."""
    lines = program.splitlines()
    cells, done = [], 0
    for node in ast.parse(program).body:
        value = getattr(node, "value", None)
        if not isinstance(node, ast.Expr) or not isinstance(value, ast.Constant):
            continue
        if not isinstance(value.value, str):
            continue
        cells.append(("code", "\n".join(lines[done : node.lineno - 1])))
        cells.append(("markdown", value.value))
        done = node.end_lineno
    cells.append(("code", "\n".join(lines[done:])))
    return [(kind, text.strip("\n")) for kind, text in cells if text.strip()]


def header_of(cells):
    """Dictionary of the header's lines, from the first of a guide's cells."""
    return dict(line.split(": ", 1) for line in cells[0][1].splitlines())


def page_of(cells):
    """Markdown of all cells, code in fences."""
    return "\n\n".join(
        text if kind == "markdown" else f"```python\n{text}\n```"
        for kind, text in cells
    )


def notebook_of(guide):
    """A guide's text as a Jupyter notebook (nbformat 4.5), JSON without outputs."""
    cells = cells_of(guide)
    header = header_of(cells)
    cells[0] = ("markdown", f"# {header['Title']}\n\n{header['Description']}")
    notebook = {
        "cells": [notebook_cell(index, *cell) for index, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def notebook_cell(index, kind, text):
    """One cell as nbformat has it; its id depends on its place and its text alone."""
    cell = {
        "cell_type": kind,
        "id": hashlib.sha256(f"{index} {text}".encode()).hexdigest()[:12],
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell
