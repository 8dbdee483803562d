"""Every hundredth made point changes when the process gets SIGUSR1: at the source, in the sink."""

import signal
from dataclasses import replace
from typing import Protocol

from benchmarks.made import Points

CHANGE = signal.SIGUSR1
CHANGED_EVERY = 100


class Server(Protocol):
    """What serves the points, or makes them up."""

    points: Points


def change_when_told(server: Server) -> None:
    """From the signal on it knows the changed points."""

    def change(_number: int, _frame: object) -> None:
        server.points = replace(server.points, changed_every=CHANGED_EVERY)

    signal.signal(CHANGE, change)
