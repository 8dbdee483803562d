"""Every setting of a command, each value with its origin; how they show, and what is missing.

`python -m q2v.settings` prints the table of all settings in Markdown.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from typing_extensions import override

from migrate.errors import UsageError
from q2v.commands.secret import SecretPlace
from q2v.declaration import Setting, section_settings
from q2v.output.terminal import write_text
from q2v.reads import READS
from q2v.sections import (
    KvSettings,
    LimitSettings,
    MappingSettings,
    SnapshotSettings,
    SourceSettings,
    TargetSettings,
    TlsSettings,
)

SECTIONS: dict[str, type] = {
    "source": SourceSettings,
    "target": TargetSettings,
    "mapping": MappingSettings,
    "kv": KvSettings,
    "limits": LimitSettings,
    "snapshot": SnapshotSettings,
    "tls": TlsSettings,
}
SETTINGS: tuple[Setting, ...] = tuple(
    setting for name, kind in SECTIONS.items() for setting in section_settings(name, kind)
)
BY_KEY: dict[str, Setting] = {setting.key: setting for setting in SETTINGS}


class Layer(IntEnum):
    """Where a value can come from; the higher wins."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    FLAG = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    layer: Layer
    text: str  # as people read it

    @override
    def __str__(self) -> str:
        """As `plan` shows it."""
        return self.text


DEFAULT_ORIGIN = Origin(Layer.DEFAULT, "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSetting:
    """One line of what `plan` shows; holds no secret."""

    key: str
    value: object  # ready for JSON
    shown: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a command. Holds no secret, only the places of secrets."""

    source: SourceSettings = field(default_factory=SourceSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    mapping: MappingSettings = field(default_factory=MappingSettings)
    kv: KvSettings = field(default_factory=KvSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    origins: Mapping[str, Origin] = field(default_factory=dict)  # those that are not defaults

    def value(self, key: str) -> object:
        """The value of a setting by its dotted name."""
        setting = BY_KEY[key]
        return getattr(getattr(self, setting.section), setting.name)

    def origin(self, key: str) -> Origin:
        """Where the value came from."""
        return self.origins.get(key, DEFAULT_ORIGIN)

    def resolved(self) -> tuple[ResolvedSetting, ...]:
        """Every setting with its value and origin, in the order of the table."""
        return tuple(self._resolved(setting) for setting in SETTINGS)

    def _resolved(self, setting: Setting) -> ResolvedSetting:
        value = self.value(setting.key)
        native: object = str(value) if isinstance(value, SecretPlace | Path) else value
        return ResolvedSetting(
            key=setting.key,
            value=list(native) if isinstance(native, tuple) else native,
            shown=show_value(setting, value),
            origin=str(self.origin(setting.key)),
        )


def check_required(settings: Settings, *keys: str) -> None:
    """Raises UsageError naming every one of these settings that is not set.

    For "source.url" a `source.path` will do, and for "source.path" a `source.url`.
    """
    either = {"source.url": "source.path", "source.path": "source.url"}
    missing = [
        BY_KEY[key]
        for key in keys
        if settings.value(key) is None
        and (key not in either or settings.value(either[key]) is None)
    ]
    if missing:
        raise UsageError(
            f"found no value for {', '.join(setting.key for setting in missing)}, "
            "expected each to be configured",
            remedy=f"set {'; '.join(map(_ways, missing))}; `q2v plan` shows what is set",
        )


def _ways(setting: Setting) -> str:
    key = f"{setting.key}_file" if setting.is_secret else setting.key
    ways = [key, f"environment {setting.environment}"]
    if setting.is_secret:
        ways.append(f"environment {setting.environment}_FILE")
    if setting.flag is not None:
        ways.append(f"flag {setting.flag}")
    if setting.key == "source.url":
        ways.append("or source.path")
    return f"{ways[0]} ({', '.join(ways[1:])})"


def show_value(setting: Setting, value: object) -> str:
    """A value for people; a secret's place, never the secret."""
    match value:
        case None:
            return setting.declaration.unset
        case bool():
            return "true" if value else "false"
        case int() | float():
            # `repr` would say 900.0 and 1e+16; the unit stands beside it.
            number = f"{value:,.15g}" if isinstance(value, float) else f"{value:,}"
            return f"{number} {setting.declaration.unit}".rstrip()
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value) or '""'


def docs_table() -> str:
    """All settings as a Markdown table; the documentation holds exactly these lines."""
    lines = [
        "| toml | environment | flag | default | meaning | read by |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in map(_docs_cells, SETTINGS)]
    return "\n".join(lines) + "\n"


def _docs_cells(setting: Setting) -> tuple[str, ...]:
    key = f"`{setting.key}{'_file' if setting.is_secret else ''}`"
    environment = f"`{setting.environment}`" if setting.environment else "-"
    if setting.is_secret:
        environment += f", `{setting.environment}_FILE`"
    meaning = setting.declaration.doc
    if setting.is_secret or setting.choices or setting.kind in {int, float}:
        meaning += f" {setting.expected[0].upper()}{setting.expected[1:]}."
    return (
        "-" if setting.declaration.flag_only else key,
        environment,
        f"`{setting.flag}`" if setting.flag else "-",
        show_value(setting, setting.default),
        meaning,
        ", ".join(command for command, keys in READS.items() if setting.key in keys),
    )


if __name__ == "__main__":
    write_text(sys.stdout, docs_table())
