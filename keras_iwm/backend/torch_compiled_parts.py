"""What is ours and pure, compiled for the steps of models that ask for it on Torch."""

import functools
import types
import warnings

import torch

from keras_iwm.backend.compiled_parts import CompiledParts
from keras_iwm.backend.torch_model_step import TorchModelStep, running

# Kinds of inputs that are compiled; a function that meets more runs as it is.
MOST_KINDS = 64

NO_COMPILER = (
    "`jit_compile=True` needs a compiler that works, on a CPU a C++ compiler such as "
    "g++ or what the environment variable CXX names. The steps run as they are."
)
MANY_KINDS = (
    "`jit_compile=True` compiles for each size of inputs, of which there are too many: "
    "for those to come the steps run as they are. Give inputs of one size."
)

UNCOMPILED = (
    "`jit_compile=True` compiles functions of tensors in Keras's operations. `{name}` "
    "of {owner} runs as it is, for something in it is not: it asks for a tensor's "
    "values, or draws. "
)


class TorchCompiledParts(CompiledParts):
    """A Keras model that compiles its parts and leaves Keras's loop as it is.

    With `jit_compile=True` Keras hands the whole step to `torch.compile`, optimizer,
    metrics and all, which breaks it into hundreds of pieces, if it ends at all. Here
    the step runs as always, and what is a function of tensors alone, such as the
    branches of a block, is compiled: once for all blocks of one shape.
    """

    def make_train_function(self, force: bool = False) -> None:
        """Make the function that `fit` runs."""
        self._make("train_function", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> None:
        """Make the function that `evaluate` runs."""
        self._make("test_function", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> None:
        """Make the function that `predict` runs."""
        self._make("predict_function", super().make_predict_function, force)

    def _make(self, name, make, force):
        """Have Keras make a function that is not compiled, and compile its parts."""
        if getattr(self, name) is not None and not force:
            return
        compiles, self.jit_compile = self.jit_compile, False
        try:
            make(force)
        finally:
            self.jit_compile = compiles
        if not self.run_eagerly:
            # `compile` forgets all steps, and with them the programs they share.
            steps = self.train_function, self.test_function, self.predict_function
            made = [step.programs for step in steps if isinstance(step, TorchModelStep)]
            step = TorchModelStep(getattr(self, name), bool(compiles), *made[:1])
            setattr(self, name, step)


def as_the_step_runs(function):
    """Return a function, or what compiles it if the step that runs asks for that.

    Args:
        function: Function of tensors, numbers and `None` that does nothing but return
            tensors. It is compiled for each kind of its inputs, with their sizes.

    Returns:
        A function of the same.
    """
    step = running.get()
    compiles = step is not None and step.compiles
    return functools.partial(run_compiled, function) if compiles else function


def run_pure(function, *tensors):
    """See `operations.run_pure`.

    In a step what the function comes to on Torch is run, without Keras, or compiled.
    """
    step = running.get()
    if step is None or any(tensor.requires_grad for tensor in tensors):
        return function(*tensors)
    kind = function, tensors[0].device, *map(kind_of, tensors)
    if kind not in step.programs:
        if step.compiles and len(step.programs) == MOST_KINDS:
            warnings.warn(MANY_KINDS, stacklevel=2)
        # What cannot be recorded of one size cannot be of another.
        refused = {key[0] for key, program in step.programs.items() if program is None}
        may_record = len(step.programs) < MOST_KINDS and function not in refused
        step.programs[kind] = record(step, function, tensors) if may_record else None
    return (step.programs[kind] or function)(*tensors)


def record(step, function, tensors):
    """Return what a function comes to on Torch, or `None` if it cannot be written down.

    Keras's work around an operation takes as long as the operation, and the compiler
    does not get through it. The function is called once, with tensors without values.
    """
    try:
        # Experimental: where it is gone, functions run as they are.
        from torch.fx.experimental.proxy_tensor import make_fx

        with torch.no_grad():
            program = make_fx(function, tracing_mode="fake")(*tensors)
        if any(map(draws, program.graph.nodes)):
            raise ValueError("It draws random numbers.")
        program.graph.eliminate_dead_code()
        program.recompile()
        if not step.compiles or not compiler_works(tensors[0].device.type):
            return program.forward
        return torch.compile(program.forward, dynamic=False, fullgraph=True)
    except Exception as error:  # of the kinds of whatever the function calls
        if step.compiles:
            names = {
                "name": function.__name__,
                "owner": type(function.__self__).__name__,
            }
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(UNCOMPILED.format(**names) + reason, stacklevel=3)
        return None


def draws(node):
    """Whether an operation of a program draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def run_compiled(function, *inputs):
    """Call the form of a function that is compiled for inputs of this kind."""
    kind = tuple(map(kind_of, inputs))
    # A teacher's passes are those of an evaluation, whose gradients are off.
    learns = torch.is_grad_enabled() and any(
        getattr(part, "requires_grad", False) for part in inputs
    )
    with torch.set_grad_enabled(learns):
        return compiled_for(function, inputs[0].device.type, learns, kind)(*inputs)


def kind_of(part):
    """What is compiled in of an input: all of it, but of a tensor the values."""
    if isinstance(part, torch.Tensor):
        return part.shape, part.dtype, part.requires_grad
    return part


@functools.cache
def compiled_for(function, device, learns, kind):
    """Return a function compiled for one kind of inputs, or as it is."""
    if not compiler_works(device):
        return function
    if compiled_for.cache_info().currsize == MOST_KINDS:
        warnings.warn(MANY_KINDS, stacklevel=2)
    if compiled_for.cache_info().currsize >= MOST_KINDS:
        return function
    # Torch counts what it makes of one piece of code, and gives up at eight.
    code = function.__code__.replace()
    own = types.FunctionType(code, function.__globals__, function.__name__)
    return torch.compile(own, dynamic=False, fullgraph=True)


@functools.cache
def compiler_works(device):
    """Whether `torch.compile` can be used on a device; if not, it warns."""
    try:
        torch.compile(torch.sin, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # of the compiler's own kinds, which have no base
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(f"{NO_COMPILER} It says: {reason}", stacklevel=2)
        return False
    return True
