"""What `q2v init` asks on a terminal, and the settings with the answers."""

from collections.abc import Iterable
from dataclasses import replace

import click

from migrate.errors import UsageError
from q2v.settings import BY_KEY, Settings

_SERVER, _FOLDER = "source.url", "source.path"
_SCHEMES = ("http://", "https://")


def with_value(settings: Settings, key: str, value: object) -> Settings:
    """The settings with another value of one of them."""
    section, _, name = key.partition(".")
    changed = replace(getattr(settings, section), **{name: value})
    return replace(settings, **{section: changed})


def with_answers(settings: Settings, keys: Iterable[str]) -> Settings:
    """Ask for each of these settings that has no value. For a server, a folder will do."""
    for key in keys:
        if settings.value(key) is not None:
            continue
        if key != _SERVER:
            meaning = BY_KEY[key].meaning.rstrip(".")
            settings = with_value(settings, *_ask(f"{meaning} ({key})", (key,)))
        elif settings.source.path is None:
            what = (
                "Address of the Qdrant server, or path of a store, a server's folder or a snapshot"
            )
            settings = with_value(settings, *_ask(what, (_SERVER, _FOLDER)))
    return settings


def choose(what: str, names: Iterable[str]) -> str:
    """Ask for one of these names until one of them is typed."""
    chosen: str = click.prompt(what, type=click.Choice(list(names)), err=True)
    return chosen


def _ask(what: str, keys: tuple[str, ...]) -> tuple[str, object]:
    """Ask until the answer fits one of the settings: its key, and its value."""

    def read(typed: str) -> tuple[str, object]:
        key = keys[0] if typed.startswith(_SCHEMES) else keys[-1]
        setting = BY_KEY[key]
        try:
            return key, setting.checked(setting.rule.read_typed, typed, "the answer")
        except UsageError as error:
            raise click.UsageError(str(error)) from error  # `prompt` shows it and asks again

    found: tuple[str, object] = click.prompt(what, value_proc=read, err=True)
    return found
