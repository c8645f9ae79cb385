"""Programs that outlive the model they were compiled for, on JAX."""

import jax


def compile_apart(function, arguments, jit_compile):
    """Compile a function for arguments of these shapes, and keep nothing else of it.

    Args:
        function: Pure function of tensors, in any structure.
        arguments: Tuple, what it is called with. Their values do not matter.
        jit_compile: Boolean, whether XLA compiles it; on JAX it always does.

    Returns:
        Function of such arguments, which does not hold `function` nor what that holds.
    """
    return jax.jit(function).lower(*arguments).compile()
