"""What a model holds after a call that failed."""


class KeptState:
    """A model whose variables hold their values whatever happens in a call.

    So they do by themselves where variables are the state; on JAX see `JaxKeptState`.
    """
