"""Products by oneDNN, and their gradients, are those of float64."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("only Torch has two libraries", allow_module_level=True)

import torch
from torch._dynamo.backends.common import aot_autograd

from keras_iwm.backend import torch_product
from keras_iwm.backend.torch_product import project, project_and_activate

SHAPES = [(40, 12, 48), (40, 48, 12), (7, 5, 5), (1, 4, 6), (0, 4, 6)]


@pytest.fixture(params=["oneDNN", "MKL"])
def library(request, monkeypatch):
    """Either of the two."""
    if request.param == "MKL":
        monkeypatch.setattr(torch_product, "LINEAR", None)
    elif torch_product.LINEAR is None:
        pytest.skip("this Torch has no oneDNN, or not under that name")


def draw(*shapes):
    """Tensors that learn, and the same in float64."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype("float32") for shape in shapes]
    make = torch.tensor
    return (
        [make(value, requires_grad=True) for value in values],
        [make(value.astype("float64"), requires_grad=True) for value in values],
    )


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(shape, added, library):
    rows, width, units = shape
    shapes = (rows, width), (width, units), units, (rows, units)
    quick, exact = draw(*shapes[: 3 + added])
    wanted = exact[0] @ exact[1] + exact[2] + (exact[3] if added else 0)
    got = project(*quick)
    assert got.dtype == torch.float32
    weights = torch.linspace(-1, 1, wanted.numel()).reshape(wanted.shape)
    pairs = zip(
        [got, *torch.autograd.grad((got * weights).sum(), quick)],
        [wanted, *torch.autograd.grad((wanted * weights.double()).sum(), exact)],
        strict=True,
    )
    for mine, theirs in pairs:
        assert mine.is_contiguous()
        np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=0, atol=3e-5)


@pytest.mark.parametrize("learns", [False, True])
def test_gelu(learns, library):
    quick, exact = draw((40, 12), (12, 48), 48)
    wanted = exact[0] @ exact[1] + exact[2]
    wanted = wanted * (1 + torch.erf(wanted / 2**0.5)) / 2
    with torch.set_grad_enabled(learns):
        got = project_and_activate(*quick)
    assert got.requires_grad is learns
    np.testing.assert_allclose(got.detach(), wanted.detach(), rtol=0, atol=1e-5)


def test_gradients_have_gradients(library):
    def second(tokens, kernel, bias):
        outputs = project(tokens, kernel, bias) ** 3
        (first,) = torch.autograd.grad(outputs.sum(), tokens, create_graph=True)
        return torch.autograd.grad((first**2).sum(), kernel)[0]

    quick, exact = draw((6, 4), (4, 8), 8)
    wanted = second(*exact)
    np.testing.assert_allclose(second(*quick), wanted, rtol=1e-4, atol=1e-3)


def test_what_leaves_this_process_has_none_of_it(library):
    class Dense(torch.nn.Module):
        def forward(self, tokens, kernel, bias):
            return project_and_activate(tokens, kernel, bias)

    quick, _ = draw((6, 4), (4, 8), 8)
    inputs = tuple(tensor.detach() for tensor in quick)
    program = torch.export.export(Dense(), inputs)
    names = {str(node.target) for node in program.graph.nodes}
    assert names & {"aten.addmm.default"}
    assert not any("mkldnn" in name for name in names)
    np.testing.assert_allclose(
        program.module()(*inputs), project_and_activate(*inputs), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("added", [False, True])
def test_compiled_programs_call_the_same_library(added, library):
    programs = []

    def compiler(program, inputs):
        programs.append(program)
        return program.forward

    def branch(tokens, kernel, bias, residual):
        outputs = project(tokens, kernel, bias, residual if added else None)
        return project_and_activate(outputs, kernel.t().contiguous(), bias[:12])

    def gradients(function):
        inputs, _ = draw((40, 12), (12, 48), 48, (40, 48))
        outputs = function(*inputs)
        return outputs, *torch.autograd.grad(
            (outputs**2).sum(), inputs[: 3 + added], allow_unused=True
        )

    backend = aot_autograd(fw_compiler=compiler, bw_compiler=compiler)
    compiled = torch.compile(branch, backend=backend, dynamic=False, fullgraph=True)
    for mine, theirs in zip(gradients(compiled), gradients(branch), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=0, atol=1e-4)
    forward, backward = [
        [str(node.target) for node in program.graph.nodes].count(
            "keras_iwm.linear.default"
        )
        for program in programs
    ]
    assert (forward, backward) == ((2, 2) if torch_product.LINEAR else (0, 0))
