"""A transformer block on Torch, without Keras's work around each layer."""

import torch
from torch.nn import functional

from keras_iwm.backend.operations import over_heads, rotate


def fused_branches(block, tokens, attention_mask=None, rotation=None, paths=None):
    """Add the two residual branches of a block whose layers are all plain.

    They do what their weights say and no more. In narrow models Keras's calls of
    layers and operations take a sixth of a step.

    Args:
        block: `TransformerBlock`, built.
        tokens: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        attention_mask: Optional boolean tensor, see `operations.attend`.
        rotation: Optional tensor, see `operations.rotate`.
        paths: Optional tensor of shape `(batch_size, 2, 1, 1)`, factors of the two
            branches.

    Returns:
        Tensor of the shape of `tokens`.
    """
    batch_size, num_tokens, hidden_dim = tokens.shape
    attention = block.attention
    normal = normalize(block.attention_norm, tokens)
    query_bias = weight_like(attention.query_bias, tokens)
    value_bias = weight_like(attention.value_bias, tokens)
    key_bias = torch.zeros_like(query_bias)
    if attention.key_bias is not None:
        key_bias = weight_like(attention.key_bias, tokens)
    bias = torch.cat([query_bias, key_bias, value_bias])
    joint = project(attention.query_key_value, normal, bias)
    num_heads = attention.num_heads
    joint = joint.reshape(batch_size, num_tokens, 3 * num_heads, -1)
    query, key, value = joint.chunk(3, dim=2)
    if rotation is not None:
        query, key = rotate(joint[:, :, : 2 * num_heads], rotation).chunk(2, dim=2)
    mixed = functional.scaled_dot_product_attention(
        *(part.transpose(1, 2) for part in (query, key, value)),
        attn_mask=over_heads(attention_mask),
    )
    mixed = mixed.transpose(1, 2).reshape(tokens.shape)
    attended = apply(attention.output_projection, mixed)
    tokens = tokens + (attended if paths is None else attended * paths[:, 0])
    hidden = apply(block.mlp_hidden, normalize(block.mlp_norm, tokens))
    expanded = apply(block.mlp_output, functional.gelu(hidden))
    return tokens + (expanded if paths is None else expanded * paths[:, 1])


def normalize(layer, tokens):
    """Apply a `TokenNorm`."""
    gamma, beta = (weight_like(weight, tokens) for weight in (layer.gamma, layer.beta))
    return functional.layer_norm(tokens, gamma.shape, gamma, beta, layer.epsilon)


def apply(layer, tokens):
    """Apply a `TokenDense`."""
    return project(layer, tokens, weight_like(layer.bias, tokens))


def project(layer, tokens, bias):
    """Apply the kernel of a `TokenDense` and a bias in one product."""
    kernel = weight_like(layer.kernel, tokens)
    flat = torch.addmm(bias, tokens.reshape(-1, kernel.shape[0]), kernel)
    return flat.reshape(*tokens.shape[:-1], kernel.shape[1])


def weight_like(weight, tokens):
    """Value of a weight in the tokens' dtype.

    What is computed again in the backward pass is outside of Keras's own casts.
    """
    return weight.value.to(tokens.dtype)
