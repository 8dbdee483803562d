"""Read migration.toml into dotted names; what they mean is decided elsewhere."""

import re
import tomllib
from pathlib import Path

from migrate.errors import UsageError
from migrate.storage.disk import disk

CONFIG_NAME = "migration.toml"
CONFIG_BYTES_MAX = 1024 * 1024
_DIGITS_MAX = 4_000  # Python reads no number of 4,301 digits, and then does not say which one
_LONG_NUMBER = re.compile(rb"(?m)^[ \t]*([A-Za-z0-9_.-]{1,64})[ \t]*=[ \t]*[+-]?[0-9_]{4000}")


def find_config(named: Path | None) -> Path | None:
    """The named file, or else the usual one if it exists."""
    usual = Path(CONFIG_NAME)
    return named if named is not None else usual if usual.exists() else None


def read_config(path: Path) -> dict[str, object]:
    """The values of the file by dotted name, as "source.url".

    Raises UsageError when the file cannot be read or is not TOML with sections of keys.
    """
    content = b""
    try:
        with disk().open_to_read(path, follow_links=True) as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
        if len(content) > CONFIG_BYTES_MAX:
            raise _refused(path, f"more than {CONFIG_BYTES_MAX:,} B", "name the settings file")
        document = tomllib.loads(content.decode())
    except FileNotFoundError as error:
        raise _refused(path, "no such file", "correct the path, or leave --config out") from error
    except OSError as error:
        found = f"that it cannot be read ({error.strerror})"
        raise _refused(path, found, "make it a regular file that this user can read") from error
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at offset {error.start}"
        raise _refused(path, found, "save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        number, found = _LONG_NUMBER.search(content), f"a syntax error: {error}"
        if number is not None:
            found = f"a number of more than {_DIGITS_MAX} digits for {number[1].decode()}"
        fix = "correct that line; texts need quotes, tables a [section] line"
        raise _refused(path, found, fix) from error
    return _flat(document, path)


def _flat(document: dict[str, object], path: Path) -> dict[str, object]:
    values: dict[str, object] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            # The value is not shown: a key at the wrong place may well be a secret.
            found = f"{'a list' if isinstance(table, list) else 'a single value'} for {section}"
            raise _refused(path, found, f"move {section} below its section, as [source]")
        values |= {f"{section}.{name}": value for name, value in table.items()}
    return values


def _refused(path: Path, found: str, fix: str) -> UsageError:
    what = f"--config {path}: found {found}, expected a TOML file of sections with keys"
    return UsageError(what, remedy=fix)
