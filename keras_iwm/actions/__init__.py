"""Operations whose parameters are known, and what actions they make."""

from keras_iwm.actions.action_space import ActionSpace as ActionSpace
from keras_iwm.actions.brightness import Brightness as Brightness
from keras_iwm.actions.channel_dropout import ChannelDropout as ChannelDropout
from keras_iwm.actions.channel_gain import ChannelGain as ChannelGain
from keras_iwm.actions.channel_offset import ChannelOffset as ChannelOffset
from keras_iwm.actions.color_jitter import ColorJitter as ColorJitter
from keras_iwm.actions.contrast import Contrast as Contrast
from keras_iwm.actions.flip import Flip as Flip
from keras_iwm.actions.gaussian_blur import GaussianBlur as GaussianBlur
from keras_iwm.actions.grayscale import Grayscale as Grayscale
from keras_iwm.actions.hue import Hue as Hue
from keras_iwm.actions.relative_crop import RelativeCrop as RelativeCrop
from keras_iwm.actions.rotation import Rotation as Rotation
from keras_iwm.actions.saturation import Saturation as Saturation
from keras_iwm.actions.solarization import Solarization as Solarization
from keras_iwm.actions.transform import Transform as Transform
from keras_iwm.actions.transform_chain import TransformChain as TransformChain
