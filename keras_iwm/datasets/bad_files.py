"""What happens to image files, or clips, that cannot be used."""

import csv
import os
import threading
import warnings

from keras_iwm.arguments import as_optional, as_path
from keras_iwm.datasets.read_image import REMEDY

# More than one file and more than this share of all: something else must be wrong.
_MAX_SHARE = 0.1
# One for all, so that what holds an account can be copied and pickled.
_LOCK = threading.Lock()


def check_policy(bad_files):
    """Returns `bad_files`, or raises a ValueError that names its two values."""
    if not isinstance(bad_files, str) or bad_files not in ("skip", "raise"):
        raise ValueError(
            "`bad_files` must be 'skip' (do without them, and say so) or 'raise'. "
            f"Received: bad_files={bad_files!r}."
        )
    return bad_files


class BadFiles:
    """Account of the files that cannot be used: raises, or notes each of them once.

    Args:
        policy: `"skip"` or `"raise"`.
        num_files: Integer, the number of all files, of which one in ten may be bad.
        csv_path: Optional path of a file to which a line `path,reason` is added for
            each bad file, unless it has that line from an earlier run.
        kind: String, what messages call the files.
    """

    def __init__(self, policy, num_files, csv_path=None, kind="image files"):
        self.policy = check_policy(policy)
        self.num_files = num_files
        self.kind = kind
        self.csv_path = as_optional(as_path, "skipped_csv", csv_path)
        self.reasons = {}  # path -> why
        self._num_warned = 0
        self._csv_paths = None  # those that stand in the file already

    def note(self, path, message):
        """Raises a ValueError with `message`, or adds a file to the account.

        Raises:
            ValueError: Also if too many files are bad.
        """
        if self.policy == "raise":
            raise ValueError(message)
        path = str(path)
        with _LOCK:
            if path not in self.reasons:
                reason = message.removesuffix(REMEDY)
                for kind in ("image file", "clip"):
                    reason = reason.removeprefix(f"The {kind} {path} ")
                self.reasons[path] = reason
                self._write(path, reason)
            if len(self.reasons) > max(1, _MAX_SHARE * self.num_files):
                raise ValueError(
                    f"More than a tenth of the {self.kind} cannot be used: "
                    f"{len(self.reasons)} of {self.num_files}, found so far."
                    f"{self._examples(3)} `keras-iwm check` looks through a folder "
                    "beforehand."
                )

    def warn(self, done, at_once=False):
        """Warns in one line if there are twice as many as at the last warning.

        Args:
            done: String, what was done: "left out", say.
            at_once: Boolean, whether one more is enough.
        """
        with _LOCK:
            count = len(self.reasons)
            enough = self._num_warned + 1 if at_once else 2 * self._num_warned
            if count < max(1, enough):
                return
            self._num_warned = count
            where = f" All are listed in {self.csv_path}." if self.csv_path else ""
            message = (
                f"{count} of {self.num_files} {self.kind} could not be used and were "
                f"{done}.{self._examples(1)}{where}"
            )
        warnings.warn(message, stacklevel=3 if at_once else 4)

    def _examples(self, count):
        """Returns a sentence for each of the first few files."""
        first = list(self.reasons.items())[:count]
        return "".join(f" {path}: {reason}" for path, reason in first)

    def _write(self, path, reason):
        """Adds a line to the CSV file; a disk that is full must not end the run."""
        if self.csv_path is None:
            return
        try:
            if self._csv_paths is None:
                self._csv_paths = self._read_csv()
            if path not in self._csv_paths:
                with self._open_csv("a") as file:
                    csv.writer(file).writerow([path, reason])
                self._csv_paths.add(path)
        except (OSError, csv.Error) as error:
            message = f"{self.csv_path} could not be written: {error}"
            warnings.warn(message, stacklevel=2)

    def _read_csv(self):
        """Returns the paths in the CSV file, which is made or cut to whole lines."""
        folder = os.path.dirname(os.path.abspath(self.csv_path))
        os.makedirs(folder, exist_ok=True)
        content = ""
        if os.path.exists(self.csv_path):
            with self._open_csv("r") as file:
                content = file.read()
        whole = content[: content.rfind("\n") + 1] or "path,reason\r\n"
        if whole != content:
            with self._open_csv("w") as file:
                file.write(whole)
        rows = csv.reader(whole.splitlines(keepends=True))
        return {row[0] for row in rows if row}

    def _open_csv(self, mode):
        """Opens the CSV file; names may hold bytes that are no text in any script."""
        options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
        return open(self.csv_path, mode, **options)
