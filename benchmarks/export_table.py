"""What each backend exports in each format, held against Keras's own outputs.

    python benchmarks/export_table.py
    python benchmarks/export_table.py --precisions int8 mixed_bfloat16 --models encoder
    python benchmarks/export_table.py --backends torch --formats onnx torch --preset

Every cell is a process of its own: it makes a model, exports it, reads the file with
the format's own runtime, and compares. Printed as a table in Markdown, and written as
JSON with --output:

- difference: largest distance from Keras's outputs, over 1, 2, 3 and 5 images, all
  through one file; outputs have about deviation 1;
- other size: the same for a second file, made for images half as large again; and what
  the first file does when it is fed such images.

Cells whose packages are not installed are left out, and named.
"""

import argparse
import importlib.util
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

BACKENDS = ("jax", "tensorflow", "torch")
FORMATS = ("tf_saved_model", "onnx", "openvino", "litert", "torch")
MODELS = ("encoder", "latent_predictor")
PRECISIONS = ("float32", "int8", "mixed_bfloat16", "mixed_float16")
SUFFIXES = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "torch": ".pt2",
}
RUNTIMES = {
    "tf_saved_model": "tensorflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
    "torch": "torch",
}
BATCH_SIZES = (1, 2, 3, 5)


def main():
    """Run the cells and print the table."""
    arguments = parse_arguments()
    if arguments.cell:
        print(json.dumps(measure_cell(*arguments.cell, arguments.preset)))
        return
    rows, left_out = [], []
    axes = (arguments.precisions, arguments.models, arguments.formats)
    for cell in itertools.product(*axes, arguments.backends):
        row = dict(zip(("precision", "model", "format", "backend"), cell, strict=True))
        row.update(run_cell(cell, arguments))
        if "left out" in row:
            left_out.append(f"{row['format']} on {row['backend']}: {row['left out']}")
            continue
        rows.append(row)
        print(f"{' '.join(cell)}: {words(row)}", file=sys.stderr, flush=True)
    print_table(rows)
    for line in dict.fromkeys(left_out):
        print(f"\nLeft out: {line}")
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1))


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["float32"]
    )
    parser.add_argument(
        "--preset",
        help="a name of keras_iwm.backbones.PRESETS; by default a tiny model",
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds a cell")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to write")
    parser.add_argument("--cell", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_cell(cell, arguments):
    """Measure one cell in a process of its own."""
    missing = [
        package
        for package in (cell[3], RUNTIMES[cell[2]])
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        return {"left out": f"{missing[0]} is not installed"}
    command = [sys.executable, __file__, "--cell", *cell]
    if arguments.preset:
        command += ["--preset", arguments.preset]
    environment = {
        **os.environ,
        "KERAS_BACKEND": cell[3],
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    try:
        result = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=arguments.timeout,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {arguments.timeout:g} s"}
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [""]
        return {"failed": f"process ended with {result.returncode}: {lines[-1]}"}
    return json.loads(result.stdout.strip().splitlines()[-1])


def measure_cell(precision, model_name, format, backend, preset):
    """Export one model and compare what is served with what Keras says."""
    if backend == "torch" or format == "torch":
        import torch  # noqa: F401 (before TensorFlow, whose libraries it disagrees with)
    import keras

    keras.utils.set_random_seed(0)
    model, inputs, larger = make_model(precision, model_name, preset)
    path = os.path.join(tempfile.mkdtemp(), "model" + SUFFIXES[format])
    started = time.perf_counter()
    try:
        model.export(path, format=format, verbose=False)
    except ImportError as error:
        return {"left out": str(error)}
    except ValueError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"failed": f"export: {type(error).__name__}: {str(error)[:300]}"}
    row = {"seconds": round(time.perf_counter() - started, 1)}
    row["bytes"] = size_of(path)
    try:
        serve = READERS[format](path)
        row["difference"] = max(
            largest_difference(model, serve, first(inputs, size))
            for size in BATCH_SIZES
        )
    except Exception as error:
        return {**row, "failed": f"{type(error).__name__}: {str(error)[:300]}"}
    try:
        shape = serve(larger).shape
        row["fed larger"] = f"answers with {shape}"
    except Exception:
        row["fed larger"] = "refused"
    path = os.path.join(tempfile.mkdtemp(), "larger" + SUFFIXES[format])
    try:
        signature = signature_of(larger)
        model.export(path, format=format, verbose=False, input_signature=signature)
        row["larger"] = largest_difference(model, READERS[format](path), larger)
    except Exception as error:
        row["larger"] = f"{type(error).__name__}: {str(error)[:300]}"
    return row


def make_model(precision, name, preset):
    """Return a model, inputs, and inputs of images half as large again."""
    from keras_iwm import backbones, downstream, models

    policy = "float32" if precision == "int8" else precision
    if preset:
        model = models.ImageWorldModel.from_preset(
            preset, load_weights=False, dtype=policy
        )
    else:
        encoder = backbones.ViTEncoder(16, 4, 32, 2, 2, dtype=policy)
        model = models.ImageWorldModel.from_encoder(encoder)
    rng = np.random.default_rng(0)
    count = max(BATCH_SIZES)
    side = model.image_size[0]

    def make_inputs(side):
        inputs = {"images": rng.uniform(0, 255, (count, side, side, 3))}
        if name == "latent_predictor":
            shape = (count, model.action_space.action_dim)
            inputs["action"] = rng.uniform(-1, 1, shape)
        return {key: value.astype("float32") for key, value in inputs.items()}

    if name == "latent_predictor":
        served = downstream.LatentPredictor.from_world_model(model)
    else:
        served = model.feature_encoder
    if precision == "int8":
        served.quantize("int8")
    return served, make_inputs(side), make_inputs(side * 3 // 2)


def signature_of(inputs):
    """The signature of a model that takes such inputs."""
    import keras

    specs = {
        key: keras.InputSpec(shape=(None, *value.shape[1:]), dtype="float32", name=key)
        for key, value in inputs.items()
    }
    return [alone(specs)]


def first(inputs, count):
    """The first rows of each input."""
    return {key: value[:count] for key, value in inputs.items()}


def alone(inputs):
    """Images alone as they are, several inputs as a dictionary."""
    return inputs if len(inputs) > 1 else inputs["images"]


def largest_difference(model, serve, inputs):
    """Largest distance of what is served from what Keras says."""
    from keras import ops

    wanted = ops.convert_to_numpy(ops.cast(model(alone(inputs)), "float32"))
    got = np.asarray(serve(inputs), "float32")
    if got.shape != wanted.shape:
        raise ValueError(f"served {got.shape} in place of {wanted.shape}")
    return float(np.abs(got - wanted).max())


def read_saved_model(path):
    """Serve a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda inputs: tf.cast(loaded.serve(alone(inputs)), "float32").numpy()


def read_onnx(path):
    """Serve an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    return lambda inputs: session.run(None, inputs)[0]


def read_openvino(path):
    """Serve an OpenVINO model, in float32 also on processors with bfloat16."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda inputs: compiled(alone(inputs))[0]


def read_litert(path):
    """Serve a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner()
    return lambda inputs: next(iter(runner(**inputs).values()))


def read_torch(path):
    """Serve a `.pt2` file."""
    import torch

    module = torch.export.load(path).module()

    def serve(inputs):
        tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
        return module(alone(tensors)).detach().float().numpy()

    return serve


READERS = {
    "tf_saved_model": read_saved_model,
    "onnx": read_onnx,
    "openvino": read_openvino,
    "litert": read_litert,
    "torch": read_torch,
}


def size_of(path):
    """Bytes of a file with its weights, or of a folder."""
    folder = pathlib.Path(path).parent
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def words(row):
    """A row's result in words."""
    for key in ("refused", "failed"):
        if key in row:
            return f"{key}: {row[key]}"
    return f"{row['difference']:.1e}"


def print_table(rows):
    """Print the rows in Markdown."""
    print(
        "| model | precision | format | backend | difference | larger images | fed to"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        larger = row.get("larger", "")
        cells = [row["model"], row["precision"], row["format"], row["backend"]]
        cells += ["refused" if "refused" in row else words(row)]
        cells += [larger if isinstance(larger, str) else f"{larger:.1e}"]
        cells += [row.get("fed larger", "")]
        print("|", " | ".join(cells).replace("\n", " "), "|")


if __name__ == "__main__":
    main()
