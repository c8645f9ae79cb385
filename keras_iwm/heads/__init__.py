"""Heads: from what a transformer says of a patch to the patch itself."""

from keras_iwm.heads.squared_error_head import SquaredErrorHead as SquaredErrorHead
