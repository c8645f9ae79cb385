"""A transformer block on Torch, without Keras's work around each layer."""

import functools

import torch
from torch.nn import functional

from keras_iwm.backend.operations import over_heads, rotate
from keras_iwm.backend.torch_compiled_parts import as_the_step_runs
from keras_iwm.backend.torch_product import project, project_and_activate

HOOKS = (
    *("_forward_pre_hooks", "_forward_hooks"),
    *("_backward_pre_hooks", "_backward_hooks"),
)


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


def needs_no_call(block, tokens, training):
    """Whether Keras's work around a call of a block would come to nothing.

    It takes a third of a millisecond, a tenth of what a narrow block takes: inputs are
    converted, scopes entered, masks looked for.

    Args:
        block: `TransformerBlock`.
        tokens: What it is called with.
        training: Boolean or `None`.
    """
    return (
        block._called  # Keras builds and notes much at the first call
        and block.built
        and type(tokens) is torch.Tensor
        and tokens.dtype == getattr(torch, block.compute_dtype)
        and not tokens.is_meta
        # Else it may stand with a layer around this one.
        and not (training is None and block.drop_path_rate)
        and block.activity_regularizer is None
        and not torch.compiler.is_compiling()
        and not any(map(len, map(block.__dict__.get, HOOKS)))
        and not torch.nn.modules.module._has_any_global_hook()
    )


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
    # more in the backward pass.
    flat = tokens.reshape(-1, tokens.shape[-1])
    settings = tokens.shape, num_heads, attention_mask, rotation
    mixed = attend(normalize(flat, *norm, attention_epsilon), *settings, *attention)
    flat = add_branch(flat, mixed, *output, None if paths is None else paths[:, 0])
    expanded = project_and_activate(normalize(flat, *mlp_norm, mlp_epsilon), *hidden)
    flat = add_branch(
        flat, expanded, *expansion, None if paths is None else paths[:, 1]
    )
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


def add_branch(flat, branch, kernel, bias, factors):
    """Project what a branch comes to and add it, by a factor for each sample."""
    if factors is None:
        return project(branch, kernel, bias, flat)
    rows = project(branch, kernel, bias).view(len(factors), -1)
    return flat + (rows * factors[:, :, 0]).view(flat.shape)
