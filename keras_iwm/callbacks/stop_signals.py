"""SIGTERM and Ctrl-C, noted until a run can stop."""

import signal
import sys
import threading

from keras_iwm.keras_callers import keras_functions


class StopSignals:
    """Notes the first SIGTERM or SIGINT that comes while `fit` runs.

    A second one acts at once, as does one that comes after `fit` has failed and left
    the handlers behind. Only Python's main thread can receive signals.
    """

    def __init__(self):
        self.received = None
        self._previous = {}

    def install(self):
        """Begin to note signals."""
        self.received = None
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

    def stop(self):
        """Raise what the noted signal raises where nobody waits for it.

        Raises:
            KeyboardInterrupt: After SIGINT; a script ends with code 130.
            SystemExit: After SIGTERM, with code 143.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + self.received)

    def _note(self, number, frame):
        self.restore()
        if "fit" in keras_functions(frame):
            self.received = number
        else:
            signal.raise_signal(number)
