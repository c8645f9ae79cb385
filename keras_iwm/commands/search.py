"""Find the images that are most like one, among those of `keras-iwm embed`.

    keras-iwm search embeddings.npz query.jpg --output neighbors.png

It prints the similarity, the name and the class of each, and draws them. The model and
the folder are those that the embeddings were made with and of; say where they are now
if they were moved.
"""

import pathlib
import sys

import numpy as np

from keras_iwm.commands.find_encoder import find_encoder
from keras_iwm.commands.program import make_parser, save_picture
from keras_iwm.datasets.read_files import read_files
from keras_iwm.embeddings.embed_folder import fingerprint
from keras_iwm.embeddings.load_embeddings import load_embeddings
from keras_iwm.evaluation.extract_features import extract_features
from keras_iwm.evaluation.nearest_neighbors import nearest_neighbors


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("search", __doc__)
    add = parser.add_argument
    add("embeddings", help=".npz or .parquet file of `keras-iwm embed`")
    add("query", help="an image file")
    add("--output", default="neighbors.png", help="a picture: .png, .pdf or .svg")
    add("--neighbors", type=int, default=10)
    add("--model", help="where the model is now")
    add("--folder", help="where the images are now")
    return parser.parse_args(options)


def main(options=None):
    """Search, print and draw."""
    arguments = parse_arguments(options)
    try:
        table = load_embeddings(arguments.embeddings)
        search(arguments, table)
    except (ImportError, ValueError) as error:
        sys.exit(str(error))


def search(arguments, table):
    """Print and draw the nearest neighbours of the query."""
    settings, embeddings = table["settings"], table["embeddings"]
    if settings["per_patch"]:
        sys.exit("Search needs one row an image: embed without --per-patch")
    model = arguments.model or settings["encoder_name"]
    if model is None:
        sys.exit("The embeddings do not say which model made them: pass --model")
    encoder = find_encoder(model)
    if fingerprint(encoder) != settings["encoder_sha256"]:
        sys.exit(f"{model} is not the model that the embeddings were made with")
    query = read_image(arguments.query, encoder)
    features = extract_features(encoder, query[None], verbose=False)
    count = min(arguments.neighbors, len(embeddings))
    indices, similarities = nearest_neighbors(embeddings, features, count)
    captions = []
    for index, similarity in zip(indices[0], similarities[0], strict=True):
        words = [str(table["names"][index])]
        if table["labels"] is not None:
            words.append(table["class_names"][table["labels"][index]])
        print(f"{similarity:.4f}", *(show(word) for word in words), sep="\t")
        captions.append(f"{show(words[0])}\n{similarity:.3f}")
    save_picture(
        pathlib.Path(arguments.output),
        draw,
        query,
        [find_image(table["names"][i], arguments, settings) for i in indices[0]],
        captions,
        encoder,
        caption=f"{model}, {len(embeddings)} images of {settings['folder']}",
    )


def show(name):
    """Return a name as any terminal can show it."""
    return name.encode("utf-8", "backslashreplace").decode()


def find_image(name, arguments, settings):
    """Return the path of an image that has been embedded."""
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        sys.exit(f"{name!r} leads out of the folder: this file is not from embed")
    return pathlib.Path(arguments.folder or settings["folder"], *path.parts)


def read_image(path, encoder):
    """Return the pixels of an image file as `embed` reads them."""
    (image,), (message,), _ = read_files(
        [path], encoder.image_size, encoder.num_channels
    )
    if message is not None:
        sys.exit(message)
    shape = (*encoder.image_size, encoder.num_channels)
    return np.asarray(image).reshape(shape)


def draw(query, paths, captions, encoder):
    """Draw the query and the images of these paths."""
    from keras_iwm.visualization import plot_neighbors

    images = np.stack([read_image(path, encoder) for path in paths])
    return plot_neighbors(query, images, captions, encoder.value_range)
