"""Photometric operations and the crop whose parameters are known."""

from keras_iwm.transforms.brightness import Brightness as Brightness
from keras_iwm.transforms.color_jitter import ColorJitter as ColorJitter
from keras_iwm.transforms.contrast import Contrast as Contrast
from keras_iwm.transforms.gaussian_blur import GaussianBlur as GaussianBlur
from keras_iwm.transforms.grayscale import Grayscale as Grayscale
from keras_iwm.transforms.hue import Hue as Hue
from keras_iwm.transforms.random_resized_crop import (
    RandomResizedCrop as RandomResizedCrop,
)
from keras_iwm.transforms.saturation import Saturation as Saturation
from keras_iwm.transforms.solarization import Solarization as Solarization
from keras_iwm.transforms.transform import Transform as Transform
