"""The settings as options of click: flag over environment over migration.toml over default."""

import copy
import functools
import importlib
import os
from collections.abc import Callable
from dataclasses import Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from typing_extensions import override

from migrate.errors import UsageError
from migrate.mapping.value_rules import Rule
from q2v.invocation import current_invocation
from q2v.output.render import format_found
from q2v.secret_files import SecretPlace, find_secret
from q2v.settings.agreement import check_agreement
from q2v.settings.file import CONFIG_NAME, find_config, read_config
from q2v.settings.sections import MEANINGS, SECRET, SECTIONS, SWITCH, Settings

_FILE = "q2v.settings.file"  # in the context: the name of the file that was read


class Setting(click.Option):
    """One setting. A command that does not take it has it too, but without its flag."""

    is_taken = False

    def __init__(self, section: str, declared: Field[Any], meaning: str) -> None:
        names: tuple[str, ...] = declared.metadata["names"]
        self.rule: Rule = declared.metadata["rule"]
        self.unset: str = declared.metadata["unset"]
        self.section, self.field, self.meaning = section, declared.name, meaning
        self.key = f"{section}.{declared.name}"
        self.is_secret, is_switch = self.rule is SECRET, self.rule is SWITCH
        usual = None if is_switch else f"Q2V_{section}_{declared.name}".upper()
        self.environment = next((name for name in names if not name.startswith("-")), usual)
        self.flag = next((name for name in names if name.startswith("-")), None)
        self.file_key = "" if is_switch else self.key + ("_file" if self.is_secret else "")
        super().__init__(
            [f"{section}_{declared.name}", self.flag or f"--{section}_{declared.name}"],
            type=_click_type(self.rule, declared),
            default=declared.default,
            envvar=self.environment,
            is_flag=is_switch,
            help=meaning if is_switch else f"{meaning}  ({self.key}, {self.environment})",
        )

    def of_command(self, *, is_taken: bool) -> "Setting":
        """The option as one command has it."""
        option = copy.copy(self)
        option.is_taken = is_taken
        if self.flag is None or not is_taken:
            option.opts, option.hidden = [], True
        return option

    @override
    def value_from_envvar(self, ctx: click.Context) -> Any:
        """The text of the variable; of a secret only the place."""
        if self.is_secret:
            return find_secret(self.key, str(self.environment))
        return super().value_from_envvar(ctx)

    @override
    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value in its final type. Raises UsageError for one that does not fit."""
        source = ctx.get_parameter_source(self.name) or ParameterSource.DEFAULT
        is_final = source >= ParameterSource.DEFAULT_MAP or isinstance(value, SecretPlace)
        return value if is_final else self.read(value, self.origin(ctx, value))

    def origin(self, ctx: click.Context, value: object) -> str:
        """Where the value of this call came from, for people."""
        match ctx.get_parameter_source(self.name):
            case ParameterSource.COMMANDLINE:
                return f"flag {self.flag}"
            case ParameterSource.ENVIRONMENT if isinstance(value, SecretPlace):
                return value.named_by
            case ParameterSource.ENVIRONMENT:
                return f"environment {self.environment}"
            case ParameterSource.DEFAULT_MAP:
                return str(ctx.meta[_FILE])
            case _:
                return "default"

    def read(self, value: Any, origin: str, *, is_native: bool = False) -> Any:
        """The value in its final type. Raises UsageError that names the origin.

        A flag and the environment give text; the file gives the native type of TOML.
        """
        found = value
        if not is_native and self.rule.native is list:
            found = [part.strip() for part in value.split(",") if part.strip()]
        is_bool = isinstance(found, bool) and self.rule is not SWITCH
        has_type = not is_native or isinstance(found, self.rule.native)
        final = self.rule.read(found) if has_type and not is_bool else None
        if final is None:
            raise self.refusal(value, origin)
        return final

    def refusal(self, value: object, origin: str) -> UsageError:
        """What was found, what is expected, and how to correct it."""
        for secret in SETTINGS:
            if secret.is_secret:  # masks it: it may have been pasted to this place too
                find_secret(secret.key, str(secret.environment))
        is_shown = not (self.is_secret or self.rule.may_hold_secret)
        found = format_found(value) if is_shown else "a value that is not shown here"
        return UsageError(
            f"{self.key} from {origin}: found {found}, expected {self.rule.expected}",
            remedy=f"correct it there, or remove it (default: {self.show(self.default)})",
        )

    def show(self, value: object) -> str:
        """A value for people; of a secret only the place."""
        match value:
            case None:
                return self.unset
            case bool():
                return "true" if value else "false"
            case int() | float():
                # `repr` would say 900.0 and 1e+16.
                number = f"{value:,.15g}" if isinstance(value, float) else f"{value:,}"
                return f"{number} {self.rule.unit}".rstrip()
            case tuple():
                return ", ".join(map(str, value)) or "none"
            case _:
                return str(value) or '""'


def _click_type(rule: Rule, declared: Field[Any]) -> click.ParamType[Any]:
    """What help shows and a shell completes; the rule decides what fits."""
    if rule.words:
        return click.Choice(rule.words)
    if rule.native in {str, list}:
        return click.Path() if declared.type == Path | None else click.STRING
    return click.INT if rule.native is int else click.FLOAT


SETTINGS = tuple(
    Setting(section, declared, MEANINGS[kind.__name__, declared.name])
    for section, kind in SECTIONS.items()
    for declared in fields(kind)
)
BY_KEY = {setting.key: setting for setting in SETTINGS}


def takes(*keys: str) -> Callable[[click.Command], click.Command]:
    """`--config` and the flags of the settings that a command reads; it gets `settings`.

    The environment and the file may set every setting for every command: one migration has one
    file.
    """
    assert not set(keys) - set(BY_KEY), f"no such settings: {set(keys) - set(BY_KEY)}"

    def decorate(command: click.Command) -> click.Command:
        inner = command.callback
        assert inner is not None

        @functools.wraps(inner)
        def with_settings(*args: Any, **values: Any) -> Any:
            given = {setting.key: values.pop(setting.name) for setting in SETTINGS}
            return inner(*args, settings=make_settings(given), **values)

        command.callback = with_settings
        command.params.append(
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                callback=_read_file,
                expose_value=False,
                help=f"Settings file.  [default: {CONFIG_NAME}, if it exists]",
            )
        )
        command.params += [setting.of_command(is_taken=setting.key in keys) for setting in SETTINGS]
        return command

    return decorate


def taken_by(command: str) -> list[Setting]:
    """The settings that `q2v COMMAND` takes."""
    module = importlib.import_module(f"q2v.commands.{command}")
    return [each for each in module.command.params if isinstance(each, Setting) and each.is_taken]


def _read_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Put the values of the file, all of them checked, where click looks for defaults."""
    current_invocation().config = path
    found = find_config(path)
    if ctx.resilient_parsing or found is None:
        return
    name, ctx.default_map = str(found), {}
    ctx.meta[_FILE] = name
    by_file_key = {setting.file_key: setting for setting in SETTINGS}
    for key, value in read_config(found).items():
        if key not in by_file_key:
            raise _unknown_key(key, name)
        setting = by_file_key[key]
        final = setting.read(value, name, is_native=True)
        if setting.is_secret:
            final = SecretPlace(
                key=setting.key, kind="file", place=final, named_by=f"{key} in {name}"
            )
        ctx.default_map[setting.name] = final


def _unknown_key(key: str, name: str) -> UsageError:
    if key in BY_KEY:
        return UsageError(
            f"{key} from {name}: found it in the file, expected it elsewhere",
            remedy=f"remove it there; replace a secret that was shared; set {_ways(BY_KEY[key])}",
        )
    nearest = get_close_matches(key, [s.file_key for s in SETTINGS], n=1, cutoff=0.0)[0]
    return UsageError(
        f"{name}: found the unknown key {key}, expected a known one; the nearest is {nearest}",
        remedy=f"rename it to {nearest}, or remove it",
    )


def make_settings(values: dict[str, Any]) -> Settings:
    """The settings of the running command, from their values by dotted name.

    Raises UsageError for settings that cannot work together.
    """
    ctx = click.get_current_context()
    origins = {key: BY_KEY[key].origin(ctx, value) for key, value in values.items()}
    if values["source.url"] is not None and values["source.path"] is not None:
        _choose_source(values, origins)
    records = {
        section: kind(**{s.field: values[s.key] for s in SETTINGS if s.section == section})
        for section, kind in SECTIONS.items()
    }
    given = {key: origin for key, origin in origins.items() if origin != "default"}
    settings = Settings(**records, origins=given)
    check_agreement(settings)
    return settings


def _choose_source(values: dict[str, Any], origins: dict[str, str]) -> None:
    """A server or a folder: the one from the stronger source counts."""
    ctx = click.get_current_context()
    sources = {
        key: ctx.get_parameter_source(BY_KEY[key].name) or ParameterSource.DEFAULT
        for key in ("source.url", "source.path")
    }
    winner, loser = sorted(sources, key=sources.__getitem__)
    if sources[winner] == sources[loser]:
        raise UsageError(
            f"found both {winner} (from {origins[winner]}) and {loser} (from {origins[loser]}), "
            "expected one",
            remedy="remove one: url is a server, path the folder of an embedded store",
        )
    values[loser], origins[loser] = None, f"set aside by {origins[winner]}"


def check_required(settings: Settings, *keys: str) -> None:
    """Raises UsageError naming every one of these settings that is not set.

    For "source.url" a `source.path` will do, and for "source.path" a `source.url`.
    """
    either = {"source.url": "source.path", "source.path": "source.url"}
    missing = [
        key
        for key in keys
        if settings.value(key) is None and settings.value(either.get(key, key)) is None
    ]
    if missing:
        raise UsageError(
            f"found no value for {', '.join(missing)}, expected each to be configured",
            remedy=f"set {'; '.join(_ways(BY_KEY[key]) for key in missing)}; `q2v plan` shows what "
            "is set",
        )


def _ways(setting: Setting) -> str:
    """Every way to give a value, for people."""
    ways = [f"environment {setting.environment}"] if setting.environment else []
    ways += [f"environment {setting.environment}_FILE"] if setting.is_secret else []
    ways += [f"flag {setting.flag}"] if setting.flag else []
    ways += ["or source.path"] if setting.key == "source.url" else []
    return f"{setting.file_key or setting.key} ({', '.join(ways)})"


def shown_settings(settings: Settings) -> list[dict[str, object]]:
    """Every setting as `plan` shows it, ready for JSON; of a secret only the place."""
    rows = []
    for setting in SETTINGS:
        value = settings.value(setting.key)
        native = str(value) if isinstance(value, SecretPlace | Path) else value
        shown, origin = setting.show(value), settings.origin(setting.key)
        rows.append({"key": setting.key, "value": native, "shown": shown, "origin": origin})
    return rows


def unknown_environment() -> list[tuple[str, str]]:
    """Variables that begin with Q2V_ and set nothing, each with the nearest name that does."""
    known = [setting.environment for setting in SETTINGS if setting.environment is not None]
    return [
        (name, get_close_matches(name, known, n=1, cutoff=0.0)[0])
        for name in sorted(os.environ)
        if name.startswith("Q2V_") and name not in known
    ]
