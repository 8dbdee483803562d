"""Settings from a file, the environment and flags, as the tests give them."""

import json
from pathlib import Path

import pytest

from migrate.errors import UsageError
from q2v.loading import load_settings
from q2v.settings import Settings


def write_config(folder: Path, values: dict[str, object]) -> Path:
    """A migration.toml with these dotted keys."""
    content = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
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


def refusal(error: pytest.ExceptionInfo[UsageError]) -> str:
    """The whole message; each has to say what was found, what was expected, and what to do."""
    text = f"{error.value}\n{error.value.remedy}"
    assert "found" in text
    assert "expected" in text
    assert error.value.remedy
    return text
