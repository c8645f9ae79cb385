"""Products of tokens with weights on Torch, by the quicker of its two libraries.

On CPUs Torch multiplies float32 by MKL. It has oneDNN too, for half precision and for
compiled programs, under a name of its own. Without that name all is done by MKL.
"""

import torch
from torch.nn import functional

LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
LINEAR = LINEAR if torch.backends.mkldnn.is_available() else None
# Older versions of Torch do not tell what is exported from what is compiled.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def project(tokens, kernel, bias, residual=None):
    """Multiply tokens by a kernel, and add a bias and what is given besides.

    Args:
        tokens: Tensor of shape `(num_tokens, input_dim)`.
        kernel: Tensor of shape `(input_dim, output_dim)`.
        bias: Tensor of shape `(output_dim,)`.
        residual: Optional tensor of shape `(num_tokens, output_dim)`.

    Returns:
        Tensor of shape `(num_tokens, output_dim)`.
    """
    if by_name(tokens):
        return TorchProduct.apply(tokens, kernel, bias, residual)
    product = torch.addmm(bias, tokens, kernel)
    return product if residual is None else residual + product


def project_and_activate(tokens, kernel, bias):
    """Apply GELU, exact, to what `project` returns."""
    joint = by_name(tokens) and not torch.compiler.is_compiling()
    if joint and not differentiable(tokens, kernel, bias):
        return LINEAR(tokens, kernel.t(), bias, "gelu", [], "none")
    return functional.gelu(project(tokens, kernel, bias))


def by_name(tokens):
    """Whether oneDNN is called: not in what leaves this process."""
    return (
        LINEAR is not None
        and tokens.is_cpu
        and tokens.dtype == torch.float32
        and not is_exporting()
        and not torch.jit.is_tracing()
    )


def differentiable(*tensors):
    """Whether autograd keeps something for a function of these tensors."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def multiply(tokens, weight, bias=None):
    """Multiply by oneDNN."""
    if torch.compiler.is_compiling():
        return compiled_linear(tokens, weight, bias)
    return LINEAR(tokens, weight, bias, "none", [], "")


@torch.library.custom_op("keras_iwm::linear", mutates_args=(), device_types="cpu")
def compiled_linear(
    tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Multiply by oneDNN where the compiler would choose MKL.

    It calls oneDNN itself for weights that never change alone, and takes an operation
    that it does not know as it is.
    """
    return LINEAR(tokens, weight, bias, "none", [], "")


@compiled_linear.register_fake
def _(tokens, weight, bias):
    return tokens.new_empty(len(tokens), len(weight))


class TorchProduct(torch.autograd.Function):
    """A product by oneDNN, and each of its gradients by what is quicker for it."""

    @staticmethod
    def forward(context, tokens, kernel, bias, residual):
        """Multiply, and keep what the gradients need."""
        context.save_for_backward(tokens, kernel)
        if residual is None:
            return multiply(tokens, kernel.t(), bias)
        if torch.compiler.is_compiling():
            return multiply(tokens, kernel.t(), bias) + residual
        return LINEAR.binary(tokens, residual, kernel.t(), bias, "add")

    @staticmethod
    def backward(context, gradient):
        """Return the gradients that are asked for, in the order of the arguments."""
        tokens, kernel = context.saved_tensors
        needed = context.needs_input_grad
        gradients = [None, None, None, gradient if needed[3] else None]
        if needed[0]:
            # What has gradients of its own must be made of what autograd knows.
            gradients[0] = (
                gradient @ kernel.t()
                if torch.is_grad_enabled()
                else multiply(gradient, kernel)
            )
        if needed[1]:
            # MKL is quicker where the result has more rows than columns.
            gradients[1] = (
                tokens.t() @ gradient
                if len(kernel) >= kernel.shape[1]
                else (gradient.t() @ tokens).t().contiguous()
            )
        if needed[2]:
            gradients[2] = gradient.sum(dim=0)
        return tuple(gradients)
