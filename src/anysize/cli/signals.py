"""
Ctrl-C and SIGTERM, at any time: one line, exit status 130 or 143, no traceback.

Until the verb runs (which is most of a short command: modules are being imported) there is nothing to undo, and the
process ends on the spot. While it runs the signal becomes an exception, so that temporary files are removed.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Stopped(KeyboardInterrupt):
    """A signal came while a verb ran."""


class Signals:
    """What is done about the two signals in this process; ignored ones stay ignored."""

    def __init__(self) -> None:
        self.number = 0
        """The signal that came first; 0 before any."""
        self._process = os.getpid()
        self._running = self._said = False

    def listen(self) -> None:
        """From now on a signal ends the process with one line."""
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) == usual:
                signal.signal(number, self._came)
        sys.unraisablehook = self._unraisable

    def verb_runs(self) -> None:
        """From now on a signal raises `Stopped`."""
        self._running = True

    def verb_ended(self) -> None:
        """From now on a signal ends the process, without a word unless one came before: the result was printed."""
        self._running, self._said = False, not self.number

    def _came(self, number: int, _frame: Any) -> None:
        if os.getpid() != self._process:  # a process that this one forked, and that has its own ways
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.number = self.number or number
        if self._running:
            raise Stopped
        if not self._said:
            os.write(2, f"anysize: {said(self.number)}\n".encode())
        os._exit(status(self.number))

    def _unraisable(self, what: Any) -> None:
        """Where an exception can be raised to nobody (a destructor, a callback from C), raise it again soon."""
        if self._running and isinstance(what.exc_value, Stopped):
            signal.signal(signal.SIGALRM, self._came)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        elif not isinstance(what.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(what)


def said(number: int) -> str:
    """The line that a signal is worth."""
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    return f"{word}; what was there before is unchanged"


def status(number: int) -> int:
    """The exit status that shells give to a process that a signal ended."""
    return 128 + int(number)
