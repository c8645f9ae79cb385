"""Files of a model on the Hugging Face Hub."""

import pathlib
import re

from keras_iwm.arguments import shown

PATTERNS = (
    *("config.json", "metadata.json", "*.weights.h5"),  # of `save_to_preset`
    *("preprocessor_config.json", "*.safetensors", "*.index.json"),
)


def hub_files(handle):
    """Download a model's config and weights, unless they have been before.

    Args:
        handle: String, `"hf://organisation/model"`.

    Returns:
        `pathlib.Path` of the local folder.

    Raises:
        ValueError: If the handle is no such string.
        ImportError: If huggingface_hub is not installed.
    """
    match = isinstance(handle, str) and re.fullmatch(
        r"hf://([\w-][\w.-]*/[\w-][\w.-]*)", handle
    )
    if not match:
        raise ValueError(
            "`handle` must be a string like 'hf://organisation/model'. Received: "
            f"handle={shown(handle)}."
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"{handle} is downloaded by huggingface_hub: "
            'pip install "keras-iwm[hub]". A folder or file that you have needs none.'
        ) from error
    return pathlib.Path(
        huggingface_hub.snapshot_download(match[1], allow_patterns=list(PATTERNS))
    )
