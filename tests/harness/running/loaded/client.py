"""Start processes of q2v that begin with its code loaded."""

import atexit
import ctypes
import fcntl
import inspect
import json
import os
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypedDict, Unpack

from tests.harness.running.programs import Stream, start_python

MESSAGE_BYTES_MAX = 4096  # of an answer
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# What a process reads before the first line of q2v: a new interpreter has to read it.
READ_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENBLAS_", "OMP_")
ROOT = Path(__file__).resolve().parents[4]
_ONE_AT_A_TIME = Lock()


class How(TypedDict, total=False):
    """Parameters of `subprocess.Popen` that these starts take."""

    cwd: Path
    env: Mapping[str, str]
    stdin: Stream
    stdout: Stream
    stderr: Stream


def start_loaded(
    *words: str, has_terminal: bool = False, **how: Unpack[How]
) -> subprocess.Popen[str]:
    """Start Python with `-m NAME ...` or `-c CODE ...` of our own code, which is loaded already.

    With `has_terminal` stdin is a terminal, and Ctrl-C on it reaches this process and no other.
    """
    environment = how.get("env", os.environ)
    if not hasattr(os, "fork") or _read_early(environment) != _read_early(os.environ):
        return start_python(*words, **how, **({"preexec_fn": own_terminal} if has_terminal else {}))
    return _Forked(words, has_terminal=has_terminal, **how)


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the process of the tests has to share; it finds the code by itself."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_EARLY) and (name, value) != ("PYTHONPATH", str(ROOT))
    }


class _Forked(subprocess.Popen[str]):
    """A child of this process that the loaded process has forked."""

    def __init__(self, words: tuple[str, ...], *, has_terminal: bool, **how: Unpack[How]) -> None:
        self._has_terminal = has_terminal
        super().__init__([sys.executable, *words], text=True, **how)

    # What Popen itself calls to fork: with the handles that the new process is to have.
    def _execute_child(self, *arguments: Any) -> None:
        plain = subprocess.Popen._execute_child  # type: ignore[attr-defined]  # noqa: SLF001
        given = inspect.signature(plain).bind(self, *arguments).arguments
        ours = [given["p2cread"], given["c2pwrite"], given["errwrite"]]
        handles = [number if mine == -1 else mine for number, mine in enumerate(ours)]
        cwd, env = given["cwd"], given["env"]
        request = {
            "words": given["args"][1:],
            "cwd": str(Path.cwd() if cwd is None else cwd),
            "env": dict(os.environ if env is None else env),
            "has_terminal": self._has_terminal,
        }
        with _adopting():
            connection = _connection()
            socket.send_fds(connection, [json.dumps(request).encode()], handles)
            self.pid = int(connection.recv(MESSAGE_BYTES_MAX))
        self._child_created = True
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        close = subprocess.Popen._close_pipe_fds  # type: ignore[attr-defined]  # noqa: SLF001
        close(self, *(given[name] for name in names))


def own_terminal() -> None:
    """In a new process: Ctrl-C on the terminal of its stdin reaches it and nothing else."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def _adopting() -> Iterator[None]:
    """A process whose parent ends meanwhile becomes a child of the tests; one start at a time."""
    prctl = ctypes.CDLL(None).prctl
    with _ONE_AT_A_TIME:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            yield
        finally:
            prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@cache
def _connection() -> socket.socket:
    """To the loaded process, which is started once, and ends with the tests."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = start_python(
            *("-m", "tests.harness.running.loaded.server"),
            cwd=ROOT,
            stdin=its.fileno(),
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
