"""What holds the house together: who may name a backend, and which way arrows run."""

import ast
import pathlib

import keras_iwm

ROOT = pathlib.Path(keras_iwm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
BACKENDS = {"jax", "tensorflow", "torch"}
# Files of Torch's can be read by Torch alone, whatever the backend is.
READS_TORCH = {"saving/read_torch.py"}

# Every room and loose file uses only what stands in lines above its own.
FLOORS = (
    (
        "choose_backend",
        "version",
        "type_aliases",
        "seeds",
        "arguments",
        "first_batch",
        "keras_callers",
        "whole_file",
    ),
    ("array_arguments",),
    ("backend",),
    ("actions", "saving"),
    ("views", "layers", "metrics"),
    ("distribution", "optimizers", "datasets", "heads"),
    ("backbones",),
    ("models",),
    ("planning",),
    ("evaluation",),
    ("callbacks", "downstream", "embeddings", "kerashub", "sizing", "visualization"),
    ("commands",),
    ("command_line",),
    ("__main__",),
)
# Programs start devices, and say which backend they run on.
MAY_NAME_BACKENDS = {"backend", "commands", "command_line"}
FLOOR_OF = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def place_of(path):
    """Room of a file: a folder's name, or a loose file's own."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Names of all modules that a file imports, anywhere in it, with the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            if node.module == "keras_iwm":
                yield from ((f"keras_iwm.{a.name}", node.lineno) for a in node.names)
            else:
                yield node.module, node.lineno


def asks_for_backend(path):
    """Lines that ask Keras which backend runs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("keras.backend.backend", "keras.config.backend", "backend"):
                yield node.lineno


def test_only_one_room_and_programs_name_a_backend():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        if place_of(path) not in MAY_NAME_BACKENDS
        and path.relative_to(ROOT).as_posix() not in READS_TORCH
        for line in [
            *(line for name, line in imports(path) if name.split(".")[0] in BACKENDS),
            *asks_for_backend(path),
        ]
    ]
    assert found == []


def test_all_rooms_have_a_floor():
    assert {place_of(path) for path in FILES} - {"__init__"} == set(FLOOR_OF)


def test_arrows_run_one_way():
    found = []
    for path in FILES:
        room = place_of(path)
        if room == "__init__":
            continue
        for name, line in imports(path):
            parts = name.split(".")
            if parts[0] != "keras_iwm":
                continue
            assert len(parts) > 1, f"{path}:{line} imports the whole library"
            if parts[1] != room and FLOOR_OF[parts[1]] >= FLOOR_OF[room]:
                found.append(f"{path.relative_to(ROOT)}:{line} {room} -> {parts[1]}")
    assert found == []


def test_files_are_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in FILES
    }
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_every_public_class_has_a_file_of_its_name():
    found = []
    for path in FILES:
        classes = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
        stem = path.stem.replace("_", "")
        found += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in classes
            if name.lower() != stem
        ]
    assert found == []
