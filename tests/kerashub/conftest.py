"""Where there is no KerasHub, only what says so is tested."""

import importlib.util

has_kerashub = importlib.util.find_spec("keras_hub")
collect_ignore = [] if has_kerashub else ["test_encoder_backbone.py"]
