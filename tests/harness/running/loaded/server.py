"""Load the product once, then fork a process of it for each request.

A request is one message on the socket that is stdin: a JSON document with `words`, `cwd`, `env` and
`has_terminal`, and the handles of stdin, stdout and stderr. The answer is the process id.
"""

import array
import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import termios
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, NoReturn

PACKAGES = ("migrate", "reconcile", "q2v", "sandbox")
LIBRARIES = ("duckdb", "pyarrow.compute", "pyarrow.parquet", "qdrant_client", "tenacity", "uvicorn")
MESSAGE_BYTES_MAX = 1 << 20
STREAMS = 3
_AT_EXIT: list[Callable[[], object]] = []


def main() -> NoReturn:
    """Serve until the tests close their side."""
    connection = socket.socket(fileno=os.dup(0))
    _load()
    while True:
        message, ancillary, _, _ = connection.recvmsg(
            MESSAGE_BYTES_MAX, socket.CMSG_SPACE(STREAMS * array.array("i").itemsize)
        )
        if not message:
            os._exit(0)
        handles = array.array("i")
        for _level, _kind, data in ancillary:
            handles.frombytes(data)
        if _fork_twice(connection):
            connection.close()
            with ExitStack() as ending:
                ending.push(_end)
                _become(json.loads(message), list(handles))
        for handle in handles:
            os.close(handle)


def _load() -> None:
    """Import what commands import; leave it out of every later garbage collection."""
    gc.disable()
    register, atexit.register = atexit.register, _call_at_exit  # type: ignore[assignment]
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    atexit.register = register
    gc.enable()
    gc.freeze()


def _call_at_exit(call: Callable[..., object], *given: Any, **named: Any) -> Callable[..., object]:
    """`atexit.register` of a module that is loaded here: q2v's own calls come after these."""
    _AT_EXIT.append(partial(call, *given, **named))
    return call


def _fork_twice(connection: socket.socket) -> bool:
    """Whether this is the new process. Its parent has ended before the answer is sent.

    So the tests have adopted it by then.
    """
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        new = os.fork()
        if new == 0:
            os.close(reading)
            os.close(writing)
            return True
        os.write(writing, b"%d" % new)
        os._exit(0)
    os.waitpid(between, 0)
    connection.send(os.read(reading, MESSAGE_BYTES_MAX))
    os.close(reading)
    os.close(writing)
    return False


def _end(_kind: object, error: BaseException | None, _trace: object) -> NoReturn:
    """End as an interpreter does, but leave modules as they are: to take them apart takes 0.5 s."""
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        traceback.print_exception(error)
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    for call in reversed(_AT_EXIT):
        call()
    atexit._run_exitfuncs()  # noqa: SLF001 - q2v's own; the last of them ends the process
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _become(request: dict[str, Any], handles: list[int]) -> None:
    """Be the program that was asked for, as Python would start it."""
    if request["has_terminal"]:
        os.setsid()
        fcntl.ioctl(handles[0], termios.TIOCSCTTY, 0)
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    gc.unfreeze()
    option, program, *words = request["words"]
    given = request["env"].get("PYTHONPATH")
    sys.path[:1] = [request["cwd"] if option == "-m" else "", *([given] if given else [])]
    sys.argv = [program if option == "-m" else option, *words]
    if option == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        exec(program, {"__name__": "__main__"})  # noqa: S102 - a program of a test


def _open_streams() -> None:
    """Text streams as a new interpreter has them."""
    encoding = sys.stdin.encoding
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)


if __name__ == "__main__":
    main()
