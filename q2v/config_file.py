"""Read migration.toml into dotted names; what they mean is decided elsewhere."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrate.errors import UsageError
from migrate.storage.disk import disk

CONFIG_NAME = "migration.toml"
CONFIG_BYTES_MAX = 1024 * 1024
_DIGITS_MAX = 4_000  # Python reads no number of 4,301 digits, and then does not say which one
_LONG_NUMBER = re.compile(rb"(?m)^[ \t]*([A-Za-z0-9_.-]{1,64})[ \t]*=[ \t]*[+-]?[0-9_]{4000}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The content of a settings file."""

    name: str  # as messages show it
    values: Mapping[str, object] = field(default_factory=dict)  # "source.url" -> value


def find_config(explicit: Path | None) -> Path | None:
    """The file that was asked for, or the usual one if there is one."""
    usual = Path(CONFIG_NAME)
    return explicit if explicit is not None else usual if usual.exists() else None


def read_config(path: Path | None) -> ConfigFile:
    """Read the file; None is an empty one. Raises UsageError when it cannot be understood."""
    if path is None:
        return ConfigFile(name=CONFIG_NAME)
    content = b""
    try:
        with disk().open_to_read(path, follow_links=True) as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
        if len(content) > CONFIG_BYTES_MAX:
            raise UsageError(
                f"{path}: found more than {CONFIG_BYTES_MAX:,} B, expected a settings file",
                remedy="name the settings file with --config",
            )
        document = tomllib.loads(content.decode())
    except FileNotFoundError as error:
        raise UsageError(
            f"--config {path}: found no such file, expected a TOML file",
            remedy=f"correct the path, or leave --config out to use {CONFIG_NAME} if it exists",
        ) from error
    except OSError as error:
        raise UsageError(
            f"--config {path}: found that it cannot be read ({error.strerror}), "
            "expected a readable TOML file",
            remedy="make it a regular file that this user can read",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: found a byte that is not UTF-8 at offset {error.start}, expected UTF-8",
            remedy="save the file as UTF-8",
        ) from error
    except (ValueError, RecursionError) as error:
        long_number = _LONG_NUMBER.search(content)
        if long_number is not None:
            raise UsageError(
                f"{path}: found a number of more than {_DIGITS_MAX} digits for "
                f"{long_number[1].decode()}, expected a shorter one",
                remedy="correct that line",
            ) from error
        raise UsageError(
            f"{path}: found a syntax error, expected TOML: {error}",
            remedy="correct that line; texts need quotes, tables a [section] line",
        ) from error
    return ConfigFile(name=str(path), values=_flat(document, path))


def _flat(document: Mapping[str, object], path: Path) -> dict[str, object]:
    values: dict[str, object] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            # The value is not shown: a key at the wrong place may well be a secret.
            shown = "a list" if isinstance(table, list) else "a single value"
            raise UsageError(
                f"{path}: found {shown} for {section}, expected a [section] with keys",
                remedy=f"move {section} below the section it belongs to, as [source] or [target]",
            )
        for name, value in table.items():
            values[f"{section}.{name}"] = value
    return values
