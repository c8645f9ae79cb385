"""What a run costs, before it is paid for."""

from keras_iwm.sizing.device import Device as Device
from keras_iwm.sizing.devices import DEVICES as DEVICES
from keras_iwm.sizing.estimate_run import estimate_run as estimate_run
