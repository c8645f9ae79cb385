"""What is fitted: one file a method."""

from keras_iwm.models.autoregressive_model import (
    AutoregressiveModel as AutoregressiveModel,
)
from keras_iwm.models.contrastive_model import ContrastiveModel as ContrastiveModel
from keras_iwm.models.image_world_model import ImageWorldModel as ImageWorldModel
from keras_iwm.models.latent_dynamics_model import (
    LatentDynamicsModel as LatentDynamicsModel,
)
from keras_iwm.models.masked_autoencoder import MaskedAutoencoder as MaskedAutoencoder
from keras_iwm.models.method_of import method_of as method_of
from keras_iwm.models.pixel_world_model import PixelWorldModel as PixelWorldModel
from keras_iwm.models.read_published_video_model import (
    read_published_video_model as read_published_video_model,
)
from keras_iwm.models.read_published_world_model import (
    read_published_world_model as read_published_world_model,
)
from keras_iwm.models.teacher_free_world_model import (
    TeacherFreeWorldModel as TeacherFreeWorldModel,
)
from keras_iwm.models.video_world_model import VideoWorldModel as VideoWorldModel
