"""A process of its own gets the settings of this one, and its secrets by environment only."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from q2v.child_settings import child_environment, encode_config
from q2v.secret_files import load_secret
from q2v.settings import SETTINGS, Settings
from tests.q2v.settings.layers import load_settings, toml
from tests.q2v.settings.test_settings import values_of

PLAIN = [
    setting
    for setting in SETTINGS
    if not setting.is_secret and setting.file_key and setting.key != "source.url"
]
FIELDS = {"mapping.order_key", "mapping.hash_key", "mapping.hash_of"}
TOKEN = "child-token-77d0c1b2e3f4a596"


def settings_from(content: bytes, environment: dict[str, str]) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "migration.toml"
        config.write_bytes(content)
        return load_settings(config=config, environment=environment, flags={})


def values(settings: Settings) -> dict[str, object]:
    return {setting.key: settings.value(setting.key) for setting in PLAIN}


@given(st.fixed_dictionaries({}, optional={one.key: values_of(one) for one in PLAIN}))
def test_the_file_resolves_to_the_settings_it_was_made_of(given_values: dict[str, object]) -> None:
    fields = [name for key, name in given_values.items() if key in FIELDS]
    assume(len(set(fields)) == len(fields))  # two of them are refused when they are one field
    lines = [f"{key} = {toml(value)}" for key, value in given_values.items()]
    first = settings_from("\n".join(lines).encode(), {})

    second = settings_from(encode_config(first), {})

    assert values(first) == values(second)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_any_text_survives_the_file(text: str) -> None:
    settings = load_settings(config=None, environment={"Q2V_VECTOR_NAME": text}, flags={})

    assert settings_from(encode_config(settings), {}).source.vector_name == text


def test_a_secret_travels_by_environment_and_other_settings_stay_at_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("source-key-5f0c9a7e\n")
    key.chmod(0o600)
    for name, value in {
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "QDRANT_API_KEY_FILE": str(key),
        "Q2V_VECTOR_INDEX": "from-here",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(config=None, environment=os.environ, flags={})
    environment, config = child_environment(settings), encode_config(settings)

    assert environment["CLOUDFLARE_API_TOKEN"] == TOKEN
    assert not {"Q2V_VECTOR_INDEX", "QDRANT_API_KEY", "QDRANT_API_KEY_FILE"} & set(environment)
    assert TOKEN.encode() not in config
    assert b"source-key" not in config
    child = settings_from(config, environment)
    assert child.target.vector_index == "from-here"
    assert child.source.api_key is not None
    assert load_secret(child.source.api_key).reveal() == "source-key-5f0c9a7e"
