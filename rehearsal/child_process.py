"""Start q2v as another process, and kill it while it works."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrate.ports import Clock
from migrate.storage.layout import LOCK
from migrate.storage.local_folder import local_file

_LOOK_S = 0.02
_LOCK_BYTES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """The settings of this process, for another process."""

    config: Path  # settings file that is written for the process
    content: bytes  # of that file; holds no secret
    environment: Mapping[str, str] = field(repr=False)  # holds the secrets


def kill_within(
    words: tuple[str, ...],
    folder: Path,
    child: ChildSettings,
    *,
    after_s: float,
    clock: Clock,
) -> bool:
    """Start `q2v WORDS --dir FOLDER` and kill it `after_s` seconds after it has begun to work.

    It has begun when it holds the folder's lock. Returns False if it ended before the kill.
    """
    local_file(child.config).write(child.content)
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "q2v", *words, "--dir", str(folder), "--config", str(child.config)],
        env=dict(child.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while process.poll() is None and not _holds_lock(folder, process.pid):
                clock.wait(_LOOK_S)
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            return True
        finally:
            process.kill()  # the process ends with this block, also after an error
    return False


def _holds_lock(folder: Path, pid: int) -> bool:
    lock = local_file(folder / LOCK)
    holder = f"pid {pid} on ".encode()
    return lock.is_there() and lock.read(bytes_max=_LOCK_BYTES_MAX).startswith(holder)
