"""What a model does to have its steps compiled."""


class CompiledParts:
    """A model whose steps are compiled as Keras does it.

    On Torch Keras compiles what does not compile, see `TorchCompiledParts`.
    """
