"""Start q2v as a process of its own that has the settings of this one, and kill it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from migrate.ports import Clock
from migrate.storage.durable import is_file, write_durably
from migrate.storage.limited_read import read_bounded
from q2v.commands.secret import SecretPlace, load_secret
from q2v.declaration import Setting
from q2v.settings import SETTINGS, Settings

_LOOK_S = 0.02
_LOCK_BYTES_MAX = 1_000


def encode_config(settings: Settings) -> bytes:
    """A migration.toml that resolves to these settings; what is default is left out.

    Secrets stay where they are: a file is named, an environment variable is not.
    """
    sections: dict[str, list[str]] = {}
    for setting in SETTINGS:
        line = _encode_setting(setting, settings.value(setting.key))
        if line is not None:
            sections.setdefault(setting.section, []).append(line)
    texts = ["\n".join([f"[{name}]", *lines, ""]) for name, lines in sections.items()]
    return "\n".join(texts).encode()


def _encode_setting(setting: Setting, value: object) -> str | None:
    match value:
        case SecretPlace(kind="file", place=place):
            return f"{setting.name}_file = {_encode_value(place)}"
        case SecretPlace() | None:
            return None
        case _ if value == setting.default or setting.declaration.flag_only:
            return None
        case _:
            return f"{setting.name} = {_encode_value(value)}"


def _encode_value(value: object) -> str:
    """As JSON: of printable text, which settings are made of, JSON and TOML are the same."""
    native = str(value) if isinstance(value, Path) else value
    return json.dumps(native, ensure_ascii=False)


def child_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with the secrets of `settings`, and no other setting."""
    names = {setting.environment for setting in SETTINGS if setting.environment}
    own = {*names, *(f"{name}_FILE" for name in names)}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    for setting in SETTINGS:
        place = settings.value(setting.key)
        if isinstance(place, SecretPlace) and place.kind == "environment":
            assert setting.environment is not None
            environment[setting.environment] = load_secret(place).reveal()
    return environment


def kill_within(
    words: tuple[str, ...],
    settings: Settings,
    folder: Path,
    config: Path,
    *,
    after_s: float,
    clock: Clock,
) -> bool:
    """Start `q2v WORDS --dir FOLDER` and kill it `after_s` seconds after it has begun to work.

    It has begun when it holds the folder's lock. Returns False if it ended before the kill.
    """
    write_durably(config, encode_config(settings))
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "q2v", *words, "--dir", str(folder), "--config", str(config)],
        env=child_environment(settings),
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
            process.kill()  # whatever happens here, nothing of ours goes on by itself
    return False


def _holds_lock(folder: Path, pid: int) -> bool:
    path = folder / ".lock"
    return is_file(path) and read_bounded(path, bytes_max=_LOCK_BYTES_MAX).startswith(
        f"pid {pid} on ".encode()
    )
