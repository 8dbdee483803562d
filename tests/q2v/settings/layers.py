"""Settings from a file, the environment and flags, as the tests give them."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import click
import pytest

from migrate.errors import UsageError
from q2v.options import takes
from q2v.settings import BY_KEY, Setting, Settings


@takes(*BY_KEY)
@click.command()
def capture(settings: Settings) -> Settings:
    """A command that takes every setting."""
    return settings


def load_settings(
    *, config: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> Settings:
    """What a command with these flags gets, with this environment and no other.

    `flags` maps dotted names to what is typed; True is a flag without a value. Without `config`
    there must be no migration.toml in the working directory.
    """
    words = [] if config is None else ["--config", str(config)]
    for key, value in flags.items():
        words += [str(BY_KEY[key].flag), *([] if value is True else [str(value)])]
    with patch.dict(os.environ, environment, clear=True):
        settings = capture.main(words, standalone_mode=False)
    assert isinstance(settings, Settings)
    return settings


def toml(value: object) -> str:
    """A value in TOML's notation: JSON's, but for tables."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return json.dumps(value)


def write_config(folder: Path, values: dict[str, object]) -> Path:
    """A migration.toml with these dotted keys."""
    content = "".join(f"{key} = {toml(value)}\n" for key, value in values.items())
    path = folder / "migration.toml"
    path.write_text(content)
    return path


def load(
    tmp_path: Path,
    values: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Settings:
    """Settings from the three layers."""
    config = write_config(tmp_path, values) if values is not None else None
    return load_settings(config=config, environment=environment or {}, flags=flags or {})


def bounds(setting: Setting) -> tuple[float, float] | None:
    """The bounds of a number, both included; None for what is no number."""
    found = re.search(r"number from (\S+) to (\S+)", setting.rule.expected)
    if found is None:
        return None
    low, high = (float(bound.replace(",", "")) for bound in found.groups())
    return low, high


def refusal(error: pytest.ExceptionInfo[UsageError]) -> str:
    """The whole message; each has to say what was found, what was expected, and what to do."""
    text = f"{error.value}\n{error.value.remedy}"
    assert "found" in text
    assert "expected" in text
    assert error.value.remedy
    return text
