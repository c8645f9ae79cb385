"""From the name of a size to the class that it is a size of."""

from keras_iwm.arguments import as_choice
from keras_iwm.backbones.presets import PRESETS
from keras_iwm.models.autoregressive_model import AutoregressiveModel
from keras_iwm.models.contrastive_model import ContrastiveModel
from keras_iwm.models.image_world_model import ImageWorldModel
from keras_iwm.models.latent_dynamics_model import LatentDynamicsModel
from keras_iwm.models.masked_autoencoder import MaskedAutoencoder
from keras_iwm.models.pretraining_model import PretrainingModel
from keras_iwm.models.video_world_model import VideoWorldModel

METHODS = (
    ImageWorldModel,
    MaskedAutoencoder,
    ContrastiveModel,
    AutoregressiveModel,
    LatentDynamicsModel,
    VideoWorldModel,
)


def method_of(preset: str) -> type[PretrainingModel]:
    """Return the class of models that a named size is for.

    For programs that let their users choose a method by the name of a size.

    Args:
        preset: Name of `keras_iwm.backbones.PRESETS`, such as `"iwm_tiny_32"`.

    Returns:
        A subclass of `PretrainingModel`.

    Raises:
        ValueError: If there is no such size.

    Example:

    ```python
    method = keras_iwm.models.method_of("ijepa_tiny_32")
    model = method.from_preset("ijepa_tiny_32", load_weights=False)
    ```
    """
    preset = as_choice("preset", preset, tuple(PRESETS))
    (method,) = (m for m in METHODS if preset.startswith(m.preset_prefixes))
    return method
