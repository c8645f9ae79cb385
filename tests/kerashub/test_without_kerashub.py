"""Who has no KerasHub is told how to get it."""

import importlib
import sys

import pytest


def test_the_room_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    monkeypatch.delitem(sys.modules, "keras_iwm.kerashub", raising=False)
    with pytest.raises(ImportError, match=r"pip install \"keras-iwm\[kerashub\]\""):
        importlib.import_module("keras_iwm.kerashub")
