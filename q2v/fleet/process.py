"""A command of q2v in a process of its own, which ends when the fleet ends."""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from migrate.storage.durable import open_new
from migrate.workers.processes import start_process

_STDOUT, _STDERR = 1, 2
_LOADED = "q2v.commands.loaded"


class RunningCommand:
    """A command that was started."""

    def __init__(self, words: Sequence[str], *, document: Path, log: Path) -> None:
        """Start `q2v WORDS`: stdout goes to `document`, stderr to `log`, both new files."""
        self._process: BaseProcess = start_process(_LOADED, _run, list(words), document, log)

    @property
    def sentinel(self) -> int:
        """For `multiprocessing.connection.wait`: ready when the process has ended."""
        return self._process.sentinel

    def exit_code(self) -> int:
        """Wait for the end. A process that a signal has ended is 128 and its number."""
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        return 128 - code if code < 0 else code

    def stop(self) -> None:
        """Ask it to end at its next safe point."""
        self._process.terminate()


def _run(words: list[str], document: Path, log: Path) -> None:
    """In the new process: the command, as if it had been typed."""
    # Ctrl-C at the terminal is for the fleet, which stops its commands: two signals would kill.
    os.setpgid(0, 0)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    for path, descriptor in ((document, _STDOUT), (log, _STDERR)):
        with open_new(path) as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["q2v", *words]
    importlib.import_module("q2v.main").main()


def _stop_with_parent() -> None:
    """End as after a SIGTERM as soon as the fleet has ended, however it did."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
