"""`q2v` and `python -m q2v`: a command as a process, which starts and ends without detours."""

import atexit
import gc
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn


def run() -> NoReturn:
    """What the installed command calls. Run the command of this process, and end the process."""
    codes: list[int] = []
    atexit.register(_end, codes)  # registered first, so it is called last
    gc.disable()  # until the modules of the command are loaded: they stay, none is garbage
    # Until `main` watches the signals: Ctrl-C while modules load shows no page of Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        importlib.import_module("q2v.main").main()
    except SystemExit as end:
        if isinstance(end.code, int):
            codes.append(end.code)
        raise
    raise AssertionError("`main` ends with SystemExit")


def _end(codes: list[int]) -> None:
    """Exit; the interpreter would take all modules apart first, which takes 0.1 s.

    What cannot be flushed has been reported.
    """
    if codes:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
                stream.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    run()
