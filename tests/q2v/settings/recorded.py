"""Settings that note which of them a command reads, while it really runs."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import click
import pytest

from q2v import options
from q2v.settings.loading import make_settings
from q2v.settings.sections import SECTIONS, Settings

# `replace` copies every field; `Settings.value` is for what treats all settings alike, as the list
# that `plan` shows: neither makes use of a value.
_COPIES = {("dataclasses", "replace"), ("q2v.settings.sections", "value")}


@contextmanager
def recorded_reads() -> Iterator[set[str]]:
    """The dotted names of all settings that commands of this process read meanwhile."""
    reads: set[str] = set()

    def make(context: click.Context) -> Settings:
        settings = make_settings(context)
        sections = {name: _recorded(name, getattr(settings, name), reads) for name in SECTIONS}
        return replace(settings, **sections)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "make_settings", make)
        yield reads


def _recorded(section: str, values: Any, reads: set[str]) -> Any:
    """The same section, as an object of a class that notes what is asked for."""
    kind: Any = type(values)
    names = {each.name for each in fields(kind)}
    look_up = kind.__getattribute__

    def ask(self: object, name: str) -> object:
        asking = inspect.currentframe()
        assert asking is not None
        assert asking.f_back is not None
        asks = (asking.f_back.f_globals["__name__"], asking.f_back.f_code.co_name)
        if name in names and asks not in _COPIES:
            reads.add(f"{section}.{name}")
        return look_up(self, name)

    noting = type(kind.__name__, (kind,), {"__getattribute__": ask, "__slots__": ()})
    return noting(**{name: getattr(values, name) for name in names})
