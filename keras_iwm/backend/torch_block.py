"""A transformer block on Torch, without Keras's work around each layer."""

import functools

import torch
from torch.nn import functional

from keras_iwm.backend.operations import over_heads, rotate
from keras_iwm.backend.torch_compiled_parts import as_the_step_runs


def fused_branches(block):
    """Return a function that adds the two residual branches of a plain block.

    It does what the layers' weights say and no more. In narrow models Keras's calls of
    layers and operations take a sixth of a step. Where the step is compiled, so is the
    function. It is chosen outside of what `keras.remat` runs twice: the second time
    may be in another thread, which does not know of the step.

    Args:
        block: `TransformerBlock`, built.

    Returns:
        Function of an optional boolean tensor, see `operations.attend`, an optional
        tensor, see `operations.rotate`, the tokens of shape `(batch_size, num_patches,
        hidden_dim)`, and optionally the factors of the two branches, of shape
        `(batch_size, 2, 1, 1)`. It returns a tensor of the shape of the tokens.
    """
    return functools.partial(call_branches, as_the_step_runs(add_branches), block)


def call_branches(add, block, attention_mask, rotation, tokens, paths=None):
    """Call a form of `add_branches` with a block's weights."""
    attention = block.attention
    norms = block.attention_norm, block.mlp_norm
    weights = (
        *(norms[0].gamma, norms[0].beta),
        *(attention.query_key_value.kernel, attention.query_bias),
        *(attention.key_bias, attention.value_bias),
        *(attention.output_projection.kernel, attention.output_projection.bias),
        *(norms[1].gamma, norms[1].beta),
        *(block.mlp_hidden.kernel, block.mlp_hidden.bias),
        *(block.mlp_output.kernel, block.mlp_output.bias),
    )
    # What is computed again in the backward pass is outside of Keras's own casts.
    weights = [w if w is None else w.value.to(tokens.dtype) for w in weights]
    epsilons = (norm.epsilon for norm in norms)
    settings = attention.num_heads, *epsilons
    return add(tokens, attention_mask, rotation, paths, *settings, *weights)


def add_branches(
    tokens,
    attention_mask,
    rotation,
    paths,
    num_heads,
    attention_epsilon,
    mlp_epsilon,
    *weights,
):
    """Add both branches: a function of tensors and numbers alone."""
    norm, attention, output = weights[:2], weights[2:6], weights[6:8]
    mlp_norm, hidden, expansion = weights[8:10], weights[10:12], weights[12:]
    # Tokens of all samples in one row: each change of the shape costs a call, and one
    # more in the backward pass. Calls stand inside each other, so that without
    # gradients the memory of one is there for the next while it is in the cache.
    flat = tokens.reshape(-1, tokens.shape[-1])
    settings = tokens.shape, num_heads, attention_mask, rotation
    attended = project(
        attend(normalize(flat, *norm, attention_epsilon), *settings, *attention),
        *output,
    )
    flat = flat + (attended if paths is None else scale(attended, paths[:, 0]))
    expanded = project(
        functional.gelu(project(normalize(flat, *mlp_norm, mlp_epsilon), *hidden)),
        *expansion,
    )
    flat = flat + (expanded if paths is None else scale(expanded, paths[:, 1]))
    return flat.view(tokens.shape)


def attend(
    flat,
    shape,
    num_heads,
    attention_mask,
    rotation,
    kernel,
    query_bias,
    key_bias,
    value_bias,
):
    """Let tokens that stand in a row attend to those of their sample."""
    if key_bias is None:
        key_bias = torch.zeros_like(query_bias)
    joint = project(flat, kernel, torch.cat([query_bias, key_bias, value_bias]))
    joint = joint.view(*shape[:2], 3 * num_heads, -1)
    query, key, value = joint.chunk(3, dim=2)
    if rotation is not None:
        query, key = rotate(joint[:, :, : 2 * num_heads], rotation).chunk(2, dim=2)
    mixed = functional.scaled_dot_product_attention(
        *(part.transpose(1, 2) for part in (query, key, value)),
        attn_mask=over_heads(attention_mask),
    )
    return mixed.transpose(1, 2).reshape(flat.shape)


def normalize(tokens, gamma, beta, epsilon):
    """Apply the weights of a `TokenNorm`."""
    return functional.layer_norm(tokens, gamma.shape, gamma, beta, epsilon)


def project(tokens, kernel, bias):
    """Apply the weights of a `TokenDense` in one product."""
    return torch.addmm(bias, tokens, kernel)


def scale(tokens, factors):
    """Multiply the tokens of each sample, all in a row, by its factor."""
    rows = tokens.view(len(factors), -1)
    return (rows * factors[:, :, 0]).view(tokens.shape)
