"""What a model holds after a call that failed."""

import contextlib


class KeptState:
    """A model whose variables hold their values whatever happens in a call.

    So they do by themselves where variables are the state; on JAX see `JaxKeptState`.
    """

    def kept(self) -> contextlib.AbstractContextManager[None]:
        """Context in which a model's values are read, and are there behind it."""
        return contextlib.nullcontext()
