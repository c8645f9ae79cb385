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


def computed_once(pixels):
    """Return pixels that a compiler shall not compute anew for each use of them.

    Args:
        pixels: Float tensor of any shape.

    Returns:
        The same tensor.
    """
    return pixels


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


# A block's two residual branches, where a backend has kernels for them, or `None`.
fused_branches = None


def needs_no_call(block, tokens, training):
    """Whether a block may do without what Keras does around a call."""
    return False


def run_pure(function, *tensors):
    """Run a function, in a step as one program where the backend does not compile all.

    Args:
        function: Method of an object that lasts. It does nothing but compute tensors,
            dictionaries and tuples of them from tensors, in Keras's operations.
        *tensors: What it is called with.

    Returns:
        What the function returns.
    """
    return function(*tensors)


# How a function is compiled without what it holds, or `None` where nothing is.
compile_apart = None

# Whether Keras's compiled functions that meet a second size are traced for any size.
traces_any_size = False


def fused_update(variables):
    """Return a step of AdamW for all parameters of one learning rate, or `None`.

    Keras's own update is a dozen operations for each of them. `None` where these are as
    good as any, and where copies of a model update together.

    Args:
        variables: List of all variables to update.
    """


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


def product(left, right):
    """Return the product of two float32 matrices with all of their digits.

    Accelerators may multiply fewer of them.

    Args:
        left: Tensor of shape `(rows, inner)`.
        right: Tensor of shape `(inner, columns)`.

    Returns:
        Tensor of shape `(rows, columns)`.
    """
    return ops.matmul(left, right)


def distances_between(queries, entries):
    """Return the L2 distance of every query to every entry, by their differences.

    Args:
        queries: Float32 tensor of shape `(num_queries, num_values)`. All differences
            are held at once, so there should be few.
        entries: Float32 tensor of shape `(num_entries, num_values)`.

    Returns:
        Float32 tensor of shape `(num_queries, num_entries)`.
    """
    differences = ops.expand_dims(queries, 1) - ops.expand_dims(entries, 0)
    return ops.sqrt(ops.sum(differences * differences, axis=-1))


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


def copy_of(value):
    """Return a value of its own, to be assigned to another variable.

    Args:
        value: Tensor, not within a compiled program.

    Returns:
        Tensor or NumPy array.
    """
    return ops.convert_to_numpy(value)


def peek(model, variable):
    """Return what a variable of a metric holds, also in the midst of `fit`.

    Args:
        model: `keras.Model`.
        variable: `keras.Variable`, one of `model.metrics_variables`.

    Returns:
        Tensor of its own, without waiting for it.
    """
    return ops.convert_to_tensor(variable) + 0


def pieces_of(variable):
    """Return the pieces of which a variable consists, and which processes hold them.

    Args:
        variable: `keras.Variable`.

    Returns:
        List of pairs, the same on all processes: where the piece lies, pairs of begin
        and end for each axis, and a list of the ranks of those that hold it.
    """
    return [(tuple((0, side) for side in variable.shape), [0])]


def read_piece(variable, index):
    """Return a piece that this process holds, as a NumPy array.

    Args:
        variable: `keras.Variable`.
        index: Where it lies, one of `pieces_of(variable)`.
    """
    return ops.convert_to_numpy(variable)


def assign_pieces(variable, read):
    """Give a variable a value, of which each process reads what its devices hold.

    Args:
        variable: `keras.Variable`.
        read: Function from where a piece lies to its values, a NumPy array.
    """
    index = tuple((0, side) for side in variable.shape)
    variable.assign(read(index).astype(variable.dtype))
