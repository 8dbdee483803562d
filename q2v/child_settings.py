"""The settings of this process for another one: values in a file, secrets in the environment."""

import json
import os
from pathlib import Path

from migrate.mapping.transforms.rules import Transform
from q2v.secret_files import SecretPlace, load_secret
from q2v.settings import SETTINGS, Setting, Settings


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
            return f"{setting.field}_file = {_encode_value(place)}"
        case SecretPlace() | None:
            return None
        case _ if value == setting.default or not setting.file_key:
            return None
        case _:
            return f"{setting.field} = {_encode_value(value)}"


def _encode_value(value: object) -> str:
    """As JSON: of printable text, which settings are made of, JSON and TOML are the same."""
    match value:
        case Path():
            return json.dumps(str(value), ensure_ascii=False)
        case Transform():
            members = (f"{key} = {_encode_value(one)}" for key, one in value.table().items())
            return "{" + ", ".join(members) + "}"
        case tuple():
            return f"[{', '.join(map(_encode_value, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


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
