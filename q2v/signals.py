"""Turn the first SIGINT, SIGTERM or SIGHUP into an exception, so every `finally` still runs."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The process was asked to stop.

    A KeyboardInterrupt, because libraries that clean up do it for that one.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name}")
        self.number = number


class StopSignals:
    """While it lasts, the first signal raises `Stopped` in the main thread, the second kills.

    The second one goes back to the operating system: it works even where no Python code runs
    any more, and every file is written so that this is harmless. A second SIGHUP is ignored: a
    terminal that is closed often sends two.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take over the signals, also a SIGINT that the parent ignores, but not for `nohup`."""
        for number in _NUMBERS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back; after a SIGHUP the next one stays ignored until the very end."""
        for number, former in self._former.items():
            if not number == self.received == signal.SIGHUP:
                signal.signal(number, former)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for each in self._former:
            signal.signal(each, signal.SIG_IGN if each == signal.SIGHUP else signal.SIG_DFL)
        self.received = signal.Signals(number)
        raise Stopped(self.received)
