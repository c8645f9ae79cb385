"""What a backend without something of its own does, in Keras's operations."""

import keras
from keras import ops


def layer_norm(tokens, gamma, beta, epsilon):
    """Normalise every token to mean 0 and variance 1, then scale and shift it.

    Computed in float32 whatever the tokens' dtype.

    Args:
        tokens: Float tensor of shape `(..., features)`.
        gamma: Tensor of shape `(features,)`.
        beta: Tensor of shape `(features,)`.
        epsilon: Float, added to the variance.

    Returns:
        Tensor of the shape and dtype of `tokens`.
    """
    return ops.layer_normalization(tokens, gamma, beta, epsilon=epsilon)


def gelu(features):
    """Return the exact GELU, `features` times the normal distribution's CDF of them.

    The approximate form differs between backends.

    Args:
        features: Float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.
    """
    return keras.activations.gelu(features, approximate=False)


def clip(pixels):
    """Return pixels within [0, 1].

    Args:
        pixels: Float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.
    """
    return ops.clip(pixels, 0.0, 1.0)


def attend(query, key, value, mask=None):
    """Return the mean of the values, weighted by how each key fits each query.

    Args:
        query: Tensor of shape `(batch_size, num_queries, num_heads, head_dim)`.
        key: Tensor of shape `(batch_size, num_keys, num_heads, head_dim)`.
        value: Tensor of the shape of `key`.
        mask: Optional boolean tensor of shape `(num_queries, num_keys)` or
            `(batch_size, num_queries, num_keys)`, `True` where a query may attend to a
            key. Every query needs a key.

    Returns:
        Tensor of the shape of `query`.
    """
    return ops.dot_product_attention(query, key, value, mask=over_heads(mask))


def rotate(heads, rotation):
    """Turn the pairs of features of queries or keys.

    Args:
        heads: Tensor of shape `(batch_size, num_tokens, num_heads, head_dim)`.
        rotation: Tensor of shape `(batch_size or 1, num_tokens, 2, head_dim)`, see
            `rotary_positions`.

    Returns:
        Tensor of the shape and dtype of `heads`.
    """
    rotation = ops.cast(rotation, heads.dtype)
    first, second = ops.split(heads, 2, axis=-1)
    exchanged = ops.concatenate([second, first], axis=-1)
    return heads * rotation[:, :, :1] + exchanged * rotation[:, :, 1:]


def over_heads(mask):
    """A mask of attention as the same for all heads, and for all samples if it is one.

    Args:
        mask: Boolean tensor of 2 or 3 axes, or `None`.

    Returns:
        Tensor of 4 axes, `(batch_size or 1, 1, num_queries, num_keys)`, or `None`.
    """
    if mask is None:
        return None
    return mask[None, None] if len(mask.shape) == 2 else mask[:, None]


# Functions of a backend with kernels for them, or `None`: a block's two residual
# branches, and a step of AdamW for all parameters of one learning rate.
fused_branches = None
fused_update = None

# Whether Keras's compiled functions that meet a second size are traced for any size.
traces_any_size = False


def gather_batch(rows):
    """Return the rows of all copies of a model, one copy's behind the other's.

    Copies may have different numbers of rows. All of them must ask. A gradient of the
    gathered rows goes back to where each came from, summed over the copies.

    Args:
        rows: Tensor of shape `(batch_size, ...)`.

    Returns:
        Tensor of shape `(batch_size of all copies, ...)`. Where one program drives all
        devices, a batch is whole already.
    """
    return rows


def move_towards(variables, targets, rate):
    """Move variables a share of the way to targets.

    Args:
        variables: List of `keras.Variable`.
        targets: List of tensors of their shapes.
        rate: Float32 scalar tensor, the share.
    """
    for variable, target in zip(variables, targets, strict=True):
        step = ops.cast(rate, variable.dtype) * (
            ops.cast(target, variable.dtype) - variable.value
        )
        variable.assign(variable.value + step)


def take_step(model, step, arguments, before, after):
    """Take a train step with something done before and after it.

    Args:
        model: `keras.Model` that takes the step.
        step: Function, the train step.
        arguments: Tuple, what Keras has called the train step with.
        before: Function without arguments, which reads variables of the optimizer.
        after: Function of what `before` has returned, which reads variables of the
            model and assigns those that do not learn.

    Returns:
        What the train step returns.
    """
    noted = before()
    logs = step(*arguments)
    after(noted)
    return logs


def peek(model, variable):
    """Return what a variable of a metric holds, also in the midst of `fit`.

    Args:
        model: `keras.Model`.
        variable: `keras.Variable`, one of `model.metrics_variables`.

    Returns:
        Tensor of its own, without waiting for it.
    """
    return ops.convert_to_tensor(variable) + 0
