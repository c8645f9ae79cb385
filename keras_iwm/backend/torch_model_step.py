"""What runs when a model takes a step on Torch."""

import contextvars

# The step that runs, unless it is to be eager.
running = contextvars.ContextVar("running", default=None)


class TorchModelStep:
    """A step, and what its parts come to.

    Args:
        run: Function of a batch.
        compiles: Boolean, whether the parts are compiled.
        programs: Optional dictionary, by functions and the kinds of their inputs.
    """

    def __init__(self, run, compiles, programs=None):
        self.run, self.compiles = run, compiles
        self.programs = {} if programs is None else programs

    def __call__(self, data):
        """Run the step."""
        token = running.set(self)
        try:
            return self.run(data)
        finally:
            running.reset(token)
