"""Copies of a model under a strategy of TensorFlow."""

import tensorflow as tf

from keras_iwm.backend.replicas import Replicas
from keras_iwm.seeds import hash_seed


class TensorFlowReplicas(Replicas):
    """The replicas of a `tf.distribute` strategy.

    The strategy adds up gradients, Keras's losses divide by the number of replicas
    and its metrics are kept for all. What is left are draws of their own.
    """

    def __init__(self):
        """Refuse a strategy of several workers, in whose scope a model is made."""
        workers = tf.distribute.MultiWorkerMirroredStrategy
        if isinstance(tf.distribute.get_strategy(), workers):
            raise ValueError(
                "`MultiWorkerMirroredStrategy` cannot be used: Keras 3 does not fit "
                "models under it. Use MirroredStrategy on one host, or several hosts "
                "on JAX or Torch, where files of this model go on too."
            )

    def prepare(self, model):
        """Refuse gradient accumulation, then make the optimizer's variables."""
        count = model.distribute_strategy.num_replicas_in_sync
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        steps = getattr(optimizer, "gradient_accumulation_steps", None)
        if count > 1 and steps:
            raise ValueError(
                "`gradient_accumulation_steps` must be None with several replicas: "
                "Keras cannot accumulate under a TensorFlow strategy. Received: "
                f"gradient_accumulation_steps={steps} with {count} replicas. Leave it "
                "out and use a larger batch, or train on one device."
            )
        # Variables that the first step made would have it traced a second time.
        if model.built and not model.optimizer.built:
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)

    def gains_by_xla(self, model):
        """On one device; Keras leaves it off on machines without an accelerator."""
        return model.distribute_strategy.num_replicas_in_sync == 1

    def draw_offset(self):
        """A number hashed from the replica's; the first one's is 0."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return None
        count = context.num_replicas_in_sync
        offsets = [0] + [hash_seed(replica, 2) for replica in range(1, count)]
        return tf.gather(
            tf.constant(offsets, "int64"), context.replica_id_in_sync_group
        )


def gather_batch(rows):
    """See `operations.gather_batch`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    gathered = context.all_gather(rows, axis=0)
    return tf.ensure_shape(gathered, (None, *rows.shape[1:]))
