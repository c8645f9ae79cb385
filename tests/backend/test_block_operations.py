"""The operations of a block and their gradients, against torch in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backend import attend, gelu, layer_norm

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
ATTENTION_SHAPE = (2, 5, 3, 4)


def torch_attend(*heads):
    """Attention of heads that stand before the features."""
    mixed = torch.nn.functional.scaled_dot_product_attention(
        *(part.transpose(1, 2) for part in heads)
    )
    return mixed.transpose(1, 2)


CASES = {
    "layer_norm": (
        lambda tokens, gamma, beta: layer_norm(tokens, gamma, beta, 1e-6),
        lambda tokens, gamma, beta: torch.nn.functional.layer_norm(
            tokens, (8,), gamma, beta, 1e-6
        ),
        [RNG.normal(3, 2, (2, 5, 8)), RNG.normal(1, 0.2, 8), RNG.normal(size=8)],
    ),
    "gelu": (gelu, torch.nn.functional.gelu, [np.linspace(-9, 9, 120).reshape(2, 60)]),
    "attend": (
        attend,
        torch_attend,
        [RNG.normal(0, 2, ATTENTION_SHAPE) for _ in range(3)],
    ),
}


class Applied(keras.Model):
    """An operation of weights: after a step of SGD they tell the gradient."""

    def __init__(self, operation, arrays):
        super().__init__()
        self.operation = operation
        self.operands = [
            self.add_weight(
                shape=array.shape,
                initializer=lambda shape, dtype=None, array=array: ops.cast(
                    array, dtype
                ),
            )
            for array in arrays
        ]

    def call(self, direction):
        """Project the operation's result on a direction."""
        outputs = self.operation(
            *(ops.convert_to_tensor(operand) for operand in self.operands)
        )
        return ops.sum(outputs * direction[0])[None]


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_torch(name):
    operation, reference, arrays = CASES[name]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = reference(*tensors)
    direction = RNG.normal(size=expected.shape)
    (expected * torch.tensor(direction)).sum().backward()

    model = Applied(operation, arrays)
    outputs = operation(*(ops.cast(array, "float32") for array in arrays))
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs), expected.detach().numpy(), atol=2e-6, rtol=2e-6
    )
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, y_pred: ops.sum(y_pred))
    # Not `train_on_batch`: on TensorFlow without XLA its gradients of such a model are
    # sometimes wrong, with Keras's own operations too.
    model.fit(direction[None].astype("float32"), np.zeros((1,), "float32"), verbose=0)
    for operand, array, tensor in zip(model.operands, arrays, tensors, strict=True):
        gradient = array - ops.convert_to_numpy(operand)
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_kept(name):
    operation, _, arrays = CASES[name]
    exact = operation(*(ops.cast(array, "float32") for array in arrays))
    outputs = operation(*(ops.cast(array, "bfloat16") for array in arrays))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(outputs, "float32")),
        ops.convert_to_numpy(exact),
        atol=0.06,
        rtol=0.02,
    )


def test_jax_differentiates_blocks_forwards():
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX differentiates forwards")
    import jax

    from keras_iwm.layers import TransformerBlock

    block = TransformerBlock(2, 24, remat=True)
    tokens, step, direction = RNG.normal(size=(3, 2, 5, 12)).astype("float32")
    block.build(tokens.shape)

    def project(tokens):
        return ops.sum(block(tokens) * direction)

    _, forwards = jax.jvp(project, (tokens,), (step,))
    backwards = jax.grad(project)(tokens)
    np.testing.assert_allclose(forwards, np.sum(backwards * step), rtol=1e-5)
    nearby = [float(project(tokens + side * 1e-2 * step)) for side in (-1, 1)]
    np.testing.assert_allclose(forwards, (nearby[1] - nearby[0]) / 2e-2, rtol=2e-2)
