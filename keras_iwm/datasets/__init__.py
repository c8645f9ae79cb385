"""Images and clips from a folder, an array, or the photos that dependencies ship."""

from keras_iwm.datasets.augmented_images import AugmentedImages as AugmentedImages
from keras_iwm.datasets.check_clip_folder import (
    check_clip_folder as check_clip_folder,
)
from keras_iwm.datasets.check_folder import check_folder as check_folder
from keras_iwm.datasets.check_shards import check_shards as check_shards
from keras_iwm.datasets.clip_array import ClipArray as ClipArray
from keras_iwm.datasets.clip_folder import ClipFolder as ClipFolder
from keras_iwm.datasets.draw_twins import draw_twins as draw_twins
from keras_iwm.datasets.image_array import ImageArray as ImageArray
from keras_iwm.datasets.image_folder import ImageFolder as ImageFolder
from keras_iwm.datasets.image_shards import ImageShards as ImageShards
from keras_iwm.datasets.load_images import load_images as load_images
from keras_iwm.datasets.load_segmentation import (
    load_segmentation as load_segmentation,
)
from keras_iwm.datasets.moving_photos import MovingPhotos as MovingPhotos
from keras_iwm.datasets.multi_task_batches import MultiTaskBatches as MultiTaskBatches
from keras_iwm.datasets.pack_folder import pack_folder as pack_folder
from keras_iwm.datasets.pack_parquet import pack_parquet as pack_parquet
from keras_iwm.datasets.sample_photos import load_sample_photos as load_sample_photos
from keras_iwm.datasets.sample_photos import random_photo_crops as random_photo_crops
from keras_iwm.datasets.scenes import Scenes as Scenes
from keras_iwm.datasets.twins import Twins as Twins
