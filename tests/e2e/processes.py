"""Look at the machine's processes, and wait for them without keeping a core busy."""

import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOOK_S = 0.005  # between two looks: short beside an upload


def wait_until(
    process: subprocess.Popen[str], reached: Callable[[], bool], look_s: float = LOOK_S
) -> None:
    """Return when `reached` says so, or when the process has ended.

    `look_s` is longer where a look is itself some requests to a server of the tests.
    """
    while process.poll() is None and not reached():
        with suppress(subprocess.TimeoutExpired):
            process.wait(look_s)


def wait_for_end(pids: list[int]) -> None:
    """Return when none of these processes runs; a test that hangs here has found one."""
    pause = threading.Event()
    while any(map(is_running, pids)):
        pause.wait(LOOK_S)


def started_by(pid: int) -> list[int]:
    """Workers that this process has started and that still run.

    The tracker that `multiprocessing` starts beside its first worker is none of them.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended while we looked
            continue
        if int(parent) == pid and state != "Z" and not _is_tracker(stat.parent):
            found.append(int(stat.parent.name))
    return found


def _is_tracker(process: Path) -> bool:
    try:
        return b"resource_tracker" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be forgotten."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
