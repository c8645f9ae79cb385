"""The public names of keras_iwm, read from `__init__.py` files without importing."""

import ast
import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# Rooms that `import keras_iwm` leaves out: they need a package that it does not.
OPTIONAL = ["kerashub"]


@dataclasses.dataclass
class PublicName:
    """A name that a room exports, the path of its definition, and its first line."""

    name: str
    definition: str
    summary: str


@dataclasses.dataclass
class Room:
    """A room of the library: what its docstring says, and its public names."""

    name: str
    summary: str
    public_names: list


def exports(path):
    """Pairs of name and module that an `__init__.py` hands on."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname, node.module) for alias in node.names)


def definition(name, module):
    """Where a name that is imported from a module is defined, and its docstring."""
    path = ROOT / module.replace(".", "/")
    if path.is_dir():  # handed on by another room
        return definition(name, dict(exports(path / "__init__.py"))[name])
    docstring = ""
    body = ast.parse(path.with_suffix(".py").read_text()).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            docstring = ast.get_docstring(node)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            docstring = getattr(getattr(following, "value", None), "value", "")
    return PublicName(name, f"{module}.{name}", docstring.partition("\n")[0])


def rooms():
    """Yield the public rooms by name: what `import keras_iwm` shows, and `OPTIONAL`."""
    package = ROOT / "keras_iwm"
    shown = [
        name for name, room in exports(package / "__init__.py") if room == "keras_iwm"
    ]
    for name in sorted(shown + OPTIONAL):
        path = package / name / "__init__.py"
        summary = ast.get_docstring(ast.parse(path.read_text()))
        names = [definition(*export) for export in sorted(exports(path))]
        yield Room(name, summary, names)
