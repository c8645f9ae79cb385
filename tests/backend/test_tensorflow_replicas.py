"""What a strategy of TensorFlow cannot do is refused when a model is made."""

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow"
)


def test_several_workers_are_refused(monkeypatch):
    import tensorflow as tf

    from keras_iwm.backend import make_replicas

    make_replicas()
    # A real one opens a server, and has to be the first thing that a process does.
    workers = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: workers)
    with pytest.raises(ValueError, match="`MultiWorkerMirroredStrategy`.*on JAX or"):
        make_replicas()
