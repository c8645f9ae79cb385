"""Linear classifiers that are trained side by side."""

import keras
import numpy as np
from keras import ops

from keras_iwm.downstream.linear_probe_model import LinearProbeModel


class ParallelHeads(keras.Model):
    """Linear classifiers side by side, each with its own rate and decay."""

    def __init__(self, mean, deviation, num_classes, pairs):
        super().__init__(dtype="float32", name="parallel_heads")
        rates, decays = np.array(pairs).T
        self.rates = ops.convert_to_tensor(rates, "float32")
        self.rated_decays = ops.convert_to_tensor(rates * decays, "float32")
        self.mean = ops.convert_to_tensor(mean, "float32")
        self.deviation = ops.convert_to_tensor(deviation, "float32")
        self.kernel = self.add_weight(
            (len(pairs), len(mean), num_classes),
            "zeros",
            regularizer=self.penalty,
            name="kernel",
        )
        self.bias = self.add_weight((len(pairs), num_classes), "zeros", name="bias")
        self.built = True

    def call(self, features):
        """Logits of shape (batch_size, num_heads, num_classes)."""
        features = (features - self.mean) / self.deviation
        return ops.einsum("bf,hfc->bhc", features, self.kernel) + self.bias

    def cross_entropy(self, labels, logits):
        """Cross entropy of each image, summed over heads in their rates."""
        labels = ops.cast(ops.reshape(labels, (-1, 1, 1)), "int32")
        of_label = ops.take_along_axis(logits, labels, axis=2)[..., 0]
        losses = ops.logsumexp(logits, axis=2) - of_label
        return ops.sum(self.rates * losses, axis=1)

    def penalty(self, kernel):
        """Half the squared kernels, summed over heads in their rates and decays."""
        squares = ops.sum(ops.square(kernel), axis=(1, 2))
        return ops.sum(self.rated_decays * squares) / 2

    def probe(self, index):
        """One head as a model of its own."""
        probe = LinearProbeModel(*self.kernel.shape[1:], name="linear_probe")
        probe.mean.assign(self.mean)
        probe.deviation.assign(self.deviation)
        probe.kernel.assign(self.kernel[index])
        probe.bias.assign(self.bias[index])
        return probe
