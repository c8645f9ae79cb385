"""The program of the processes of folders: reads images or clips for another process.

It is run as a file, and knows Pillow but not Keras, which would take seconds to start.
"""

import json
import pathlib
import signal
import sys
import types


def serve(requests, answers):
    """Reads images for another process until it closes the requests, or ends.

    Args:
        requests: Binary stream. Each line is JSON, the arguments of `read_files`. For
            a `StoredFile` it has name, size and error; the bytes of all these come
            behind the line.
        answers: Binary stream. For each request comes one line of JSON: for each file
            the message that says why it cannot be used, or `null`, and the name of
            the dtype. Behind it come the pixels of all other images.
    """
    from keras_iwm.datasets.read_files import read_files
    from keras_iwm.datasets.stored_file import StoredFile

    for line in requests:
        files, *options = json.loads(line)
        for row, file in enumerate(files):
            if not isinstance(file, str):
                name, size, error = file
                content = None if size is None else requests.read(size)
                files[row] = StoredFile(name, content, error)
        images, messages, dtype = read_files(files, *options)
        pixels = [image.tobytes() for image in images if image is not None]
        header = json.dumps([messages, dtype]).encode()
        answers.write(header + b"\n" + b"".join(pixels))
        answers.flush()


if __name__ == "__main__":
    # Bare packages, so that the imports above do not run the `__init__` of the real
    # ones, which import Keras.
    here = pathlib.Path(__file__).parent
    for name, folder in (("keras_iwm", here.parent), ("keras_iwm.datasets", here)):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    # An interrupt from the keyboard is for the training process. When that ends, in
    # whatever way, the requests end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        sys.stdout = None  # or Python would try to flush it once more
