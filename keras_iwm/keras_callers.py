"""Which of Keras's functions wait for ours: what Keras does not pass on."""


def is_keras(frame):
    """Whether the code of a stack frame is Keras's.

    Args:
        frame: A frame, as of `sys._getframe`.
    """
    return frame.f_globals.get("__name__", "").startswith("keras.")


def keras_functions(frame):
    """Names of Keras's functions on the stack.

    Args:
        frame: The innermost frame to look at, or `None`.

    Returns:
        List of strings, the innermost first.
    """
    return [caller.f_code.co_name for caller in _keras_frames(frame)]


def keras_owner(frame, name):
    """The object whose method on the stack has a name.

    Args:
        frame: The innermost frame to look at, or `None`.
        name: String, the method's name.

    Returns:
        An object of Keras's, of the innermost such method, or `None`.
    """
    for caller in _keras_frames(frame):
        if caller.f_code.co_name == name:
            return caller.f_locals.get("self")
    return None


def _keras_frames(frame):
    while frame is not None:
        if is_keras(frame):
            yield frame
        frame = frame.f_back
