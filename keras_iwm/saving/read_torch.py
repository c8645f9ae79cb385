"""Arrays from a file of Torch's."""

import zipfile


def read_torch(path):
    """Read the arrays of a file that `torch.save` has written, and run nothing of it.

    Args:
        path: Path of the file.

    Returns:
        Nested dictionary of NumPy arrays, those in half precision as float32. What is
        neither a dictionary nor a tensor is left out.

    Raises:
        ImportError: If Torch is not installed.
        ValueError: If the file is damaged, or holds more than dictionaries, lists,
            tensors, numbers and strings.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is a file of Torch's, which only Torch can read, whatever the "
            "backend is: pip install torch."
        ) from error
    try:
        # Files of the older format cannot be mapped into memory.
        content = torch.load(
            path,
            map_location="cpu",
            weights_only=True,
            mmap=zipfile.is_zipfile(path),
        )
    except Exception as error:  # whatever unpickling makes of rubbish
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} is refused: it is damaged, or holds more than tensors, numbers "
            f"and strings, and could run code. {type(error).__name__}: {reason}"
        ) from None

    def arrays_of(item):
        if isinstance(item, dict):
            parts = {str(name): arrays_of(part) for name, part in item.items()}
            return {name: part for name, part in parts.items() if part is not None}
        if not isinstance(item, torch.Tensor) or item.layout != torch.strided:
            return None
        half = item.dtype in (torch.bfloat16, torch.float16)
        return (item.detach().float() if half else item.detach()).numpy()

    return arrays_of(content) or {}
