"""The encoder that a command line names."""

import pathlib
import sys

from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.saving.load_encoder import load_encoder


def find_encoder(name):
    """Load the encoder of a `.keras` file or of a preset, or end with what is wrong.

    The folder of a run of `keras-iwm pretrain` stands for the model in it.
    """
    path = pathlib.Path(name)
    if (path / "model.keras").is_file():
        name = path / "model.keras"
    try:
        if pathlib.Path(name).suffix == ".keras":
            return load_encoder(name)
        return ViTEncoder.from_preset(name)
    except (ValueError, ImportError) as error:
        sys.exit(str(error))
