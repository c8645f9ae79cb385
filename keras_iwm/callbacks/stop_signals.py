"""SIGTERM and Ctrl-C, noted until a run can stop."""

import signal
import sys
import threading

from keras_iwm.backend import ask_all, count_processes
from keras_iwm.keras_callers import keras_functions


class StopSignals:
    """Notes the first SIGTERM or SIGINT that comes while `fit` runs.

    A second one acts at once, as does one that comes after `fit` has failed and left
    the handlers behind. Only Python's main thread can receive signals.

    Several processes that train together all take over the signal that one has got.
    """

    def __init__(self):
        self.agreed = self._received = 0  # by all processes, and this one's own
        self._previous = {}

    def install(self):
        """Begin to note signals."""
        self.agreed = self._received = 0
        self._asked = lambda: 0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if number not in self._previous and not ignored:
                    self._previous[number] = signal.signal(number, self._note)

    def restore(self):
        """Give the signals back to whoever had them."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            self._previous = {}

    def ask(self, is_late=False, wait=False):
        """Whether any process is late to save or has got a signal; all must ask.

        Of several processes it is the answer of the last time, so that no step waits.

        Args:
            is_late: Boolean, whether this process is.
            wait: Boolean, whether to wait for the answer of this time too.
        """
        before, self._asked = self._asked, ask_all(self._received or int(is_late))
        wanted = before() if count_processes() > 1 else 0
        if wait or count_processes() == 1:
            wanted, self._asked = max(wanted, self._asked()), lambda: 0
        self.agreed = wanted if wanted > 1 else 0
        return wanted > 0

    def stop(self):
        """Raise what the agreed signal raises where nobody waits for it.

        Raises:
            KeyboardInterrupt: After SIGINT; a script ends with code 130.
            SystemExit: After SIGTERM, with code 143.
        """
        if self.agreed == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + self.agreed)

    def _note(self, number, frame):
        self.restore()
        if "fit" in keras_functions(frame):
            self._received = number
        else:
            signal.raise_signal(number)
