"""The settings as options of click: flag over environment over migration.toml over default."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from typing_extensions import override

from migrate.errors import UsageError
from migrate.mapping.agreement import check_agreement
from migrate.mapping.value_rules import Rule
from migrate.storage.disk import disk
from q2v.invocation import current_invocation
from q2v.output.render import format_found, format_value
from q2v.secret_files import SecretPlace, find_secret
from q2v.settings.sections import MEANINGS, SECRET, SECTIONS, SWITCH, Settings

CONFIG_NAME = "migration.toml"  # read where it exists, unless --config names another file
CONFIG_BYTES_MAX = 1024 * 1024
_DIGITS_MAX = 4_000  # Python reads no number of 4,301 digits, and then does not say which one
_LONG_NUMBER = re.compile(rb"([A-Za-z0-9_.-]{1,64})[ \t]*=[ \t]*[+-]?[0-9_]{4000}")
_FILE = "q2v.settings.file"  # in the context: the name of the file that was read


class Setting(click.Option):
    """One setting. Only those with a flag are parameters of a command."""

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

    @override
    def value_from_envvar(self, ctx: click.Context) -> Any:
        """The text of the variable; of a secret only the place."""
        if self.is_secret:
            return find_secret(self.key, str(self.environment))
        return super().value_from_envvar(ctx)

    @override
    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value in its final type. Raises UsageError for one that does not fit."""
        is_typed = isinstance(value, str) and self.source(ctx) < ParameterSource.DEFAULT_MAP
        return self.checked(self.rule.read_typed, value, self.origin(ctx)) if is_typed else value

    def source(self, ctx: click.Context) -> ParameterSource:
        """What gives the value of this call; the stronger one is the smaller."""
        return ctx.get_parameter_source(self.name) or ParameterSource.DEFAULT

    def origin(self, ctx: click.Context) -> str:
        """Where the value of this call comes from, for people."""
        match self.source(ctx), ctx.params.get(self.name):
            case ParameterSource.COMMANDLINE, _:
                return f"flag {self.flag}"
            case ParameterSource.ENVIRONMENT, SecretPlace(named_by=variable):
                return variable
            case ParameterSource.ENVIRONMENT, _:
                return f"environment {self.environment}"
            case ParameterSource.DEFAULT_MAP, _:
                return str(ctx.meta[_FILE])
        return "default"

    def checked(self, read: Callable[[Any], Any], value: object, origin: str) -> Any:
        """What `read` makes of the value. Raises UsageError that names the origin."""
        try:
            final = read(value)
        except ValueError as error:  # of a value with parts: it says which one
            raise UsageError(f"{self.key} from {origin}: {error}", remedy="correct it") from error
        if final is not None:
            return final
        for secret in (one for one in SETTINGS if one.is_secret):
            find_secret(secret.key, str(secret.environment))  # masks it: it may stand here too
        is_shown = not (self.is_secret or self.rule.may_hold_secret)
        found = format_found(value) if is_shown else "a value that is not shown here"
        raise UsageError(
            f"{self.key} from {origin}: found {found}, expected {self.rule.expected}",
            remedy=f"correct it there, or remove it (default: {self.show(self.default)})",
        )

    def show(self, value: object) -> str:
        """A value for people; of a secret only the place."""
        return self.unset if value is None else format_value(value, self.rule.unit)

    def ways(self) -> str:
        """Every way to give a value, for people."""
        ways = [f"environment {self.environment}"] if self.environment else []
        ways += [f"environment {self.environment}_FILE"] if self.is_secret else []
        ways += [f"flag {self.flag}"] if self.flag else []
        return f"{self.file_key or self.key} ({', '.join(ways)})"


def _click_type(rule: Rule, declared: Field[Any]) -> click.ParamType[Any]:
    """What help shows and a shell completes; the rule decides what fits."""
    if rule.words:
        return click.Choice(rule.words)
    if rule.native not in {int, (int, float)}:
        return click.Path() if declared.type == Path | None else click.STRING
    return click.INT if rule.native is int else click.FLOAT


SETTINGS = tuple(
    Setting(section, declared, MEANINGS[kind.__name__, declared.name])
    for section, kind in SECTIONS.items()
    for declared in fields(kind)
)
BY_KEY = {setting.key: setting for setting in SETTINGS}


def read_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Put the values of the file, all of them checked, where click looks for defaults."""
    current_invocation().config = path
    found = path or Path(CONFIG_NAME)
    if ctx.resilient_parsing or not (path or disk().exists(found) or disk().is_link(found)):
        return
    name, ctx.default_map = str(found), {}
    ctx.meta[_FILE] = name
    by_file_key = {setting.file_key: setting for setting in SETTINGS}
    for key, value in read_config(found).items():
        if key not in by_file_key:
            raise _unknown_key(key, name)
        setting = by_file_key[key]
        final = setting.checked(setting.rule.read_native, value, name)
        if setting.is_secret:
            named_by = f"{key} in {name}"
            final = SecretPlace(key=setting.key, kind="file", place=final, named_by=named_by)
        ctx.default_map[setting.name] = final


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
        raise _refused(path, "no such file, or a link to none", "correct the path") from error
    except OSError as error:
        found = f"that it cannot be read ({error.strerror})"
        raise _refused(path, found, "make it a regular file that this user can read") from error
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at offset {error.start}"
        raise _refused(path, found, "save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else error
        found, number = f"a syntax error: {said}", _LONG_NUMBER.search(content)
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


def _unknown_key(key: str, name: str) -> UsageError:
    if key in BY_KEY:
        return UsageError(
            f"{key} from {name}: found it in the file, expected it elsewhere",
            remedy=f"remove it there; replace a secret that was shared; set {BY_KEY[key].ways()}",
        )
    nearest = get_close_matches(key, [s.file_key for s in SETTINGS], n=1, cutoff=0.0)[0]
    return UsageError(
        f"{name}: found the unknown key {key}, expected a known one; the nearest is {nearest}",
        remedy=f"rename it to {nearest}, or remove it",
    )


def make_settings(ctx: click.Context) -> Settings:
    """The settings of a command, those that it does not take too: they have no flag there.

    Raises UsageError for a value that does not fit, and for settings that cannot work together.
    """
    for setting in SETTINGS:
        if setting.name not in ctx.params:
            setting.handle_parse_result(ctx, {}, [])
    values = {setting.key: ctx.params[setting.name] for setting in SETTINGS}
    origins = {setting.key: setting.origin(ctx) for setting in SETTINGS}
    if values["source.url"] is not None and values["source.path"] is not None:
        _choose_source(ctx, values, origins)
    records = {
        section: kind(**{s.field: values[s.key] for s in SETTINGS if s.section == section})
        for section, kind in SECTIONS.items()
    }
    given = {key: origin for key, origin in origins.items() if origin != "default"}
    check_agreement(values, given)
    return Settings(**records, origins=given)


def _choose_source(ctx: click.Context, values: dict[str, Any], origins: dict[str, str]) -> None:
    """A server or a path: the one from the stronger source counts."""
    sources = {key: BY_KEY[key].source(ctx) for key in ("source.url", "source.path")}
    winner, loser = sorted(sources, key=sources.__getitem__)
    if sources[winner] == sources[loser]:
        raise UsageError(
            f"found both {winner} (from {origins[winner]}) and {loser} (from {origins[loser]}), "
            "expected one",
            remedy="remove one: url is a server, path a folder or file that is read without one",
        )
    values[loser], origins[loser] = None, f"set aside by {origins[winner]}"
