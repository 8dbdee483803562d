"""What a setting is: its names, its type and range, and how text becomes its value."""

import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from q2v.commands.secret import SecretPlace

_FOUND_LENGTH_MAX = 60
_NUMBER_BITS_SHOWN_MAX = 200  # 2^200 has 61 digits; Python prints no number of 4,301 digits
_METADATA_KEY = "q2v"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")


_KINDS_IN_WORDS: dict[type, str] = {
    bool: "true or false",
    tuple: "a list of texts, each {form}",
    SecretPlace: "the path of a file, mode 0600 or stricter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What stands beside a field of a section; the type comes from the field's annotation."""

    doc: str  # one sentence
    environment: str | None = None  # None: Q2V_<SECTION>_<NAME>
    flag: str | None = None  # None: no flag
    flag_only: bool = False  # never from file or environment
    unit: str = ""
    minimum: float | None = None  # every number has both
    maximum: float | None = None
    empty: bool = False  # whether empty text is a value
    unset: str = "not set"  # what None means, for people
    form: str = ""  # what text has to look like, in words
    fits: Callable[[str], bool] | None = None  # whether a text looks like that
    fits_list: Callable[[tuple[str, ...]], bool] | None = None
    shown: bool = True  # False: a refused value may hold a secret and is not repeated


def declare(default: object, doc: str, **parts: Any) -> Any:
    """A field of a section with its declaration; `parts` are the fields of `Declaration`."""
    return field(default=default, metadata={_METADATA_KEY: Declaration(doc=doc, **parts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table of settings."""

    section: str
    name: str
    kind: type  # str, int, float, bool, Path, tuple (of text) or SecretPlace
    choices: tuple[str, ...]  # empty: anything of the kind
    default: object
    declaration: Declaration

    @property
    def key(self) -> str:
        """The name in migration.toml and in every message."""
        return f"{self.section}.{self.name}"

    @property
    def is_secret(self) -> bool:
        """Whether only the place may be named, never the value."""
        return self.kind is SecretPlace

    @property
    def environment(self) -> str | None:
        """The environment variable; None when there is none."""
        if self.declaration.flag_only:
            return None
        return self.declaration.environment or f"Q2V_{self.section}_{self.name}".upper()

    @property
    def flag(self) -> str | None:
        """The flag; secrets never have one."""
        return self.declaration.flag

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if self.kind in {int, float}:
            number = "a whole number" if self.kind is int else "a number"
            unit = f" ({self.declaration.unit})" if self.declaration.unit else ""
            return f"{number} {self._range()}{unit}"
        form = self.declaration.form
        if self.kind is Path:
            return f"the path of {form or 'a folder'}"
        return _KINDS_IN_WORDS.get(self.kind, "{form}").format(form=form or "text")

    def _range(self) -> str:
        return f"from {self.declaration.minimum:,} to {self.declaration.maximum:,}"


class IllFormedError(Exception):
    """A value is not what the setting expects; the loader says where it came from."""


def section_settings(section: str, kind: type) -> tuple[Setting, ...]:
    """The declared settings of one section class, in order."""
    hints = get_type_hints(kind)
    return tuple(_setting(section, part, hints[part.name]) for part in fields(kind))


def _setting(section: str, part: Field[Any], hint: object) -> Setting:
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(option for option in get_args(hint) if option is not type(None))
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kind = str if choices else (get_origin(hint) or hint)
    assert isinstance(kind, type)
    assert part.default is not MISSING
    return Setting(
        section=section,
        name=part.name,
        kind=kind,
        choices=choices,
        default=part.default,
        declaration=part.metadata[_METADATA_KEY],
    )


def read_text(setting: Setting, text: str) -> object:
    """The value that a text from the environment or a flag stands for, not yet checked."""
    if setting.kind is int and _WHOLE.fullmatch(text):
        return int(text)
    if setting.kind is float and _NUMBER.fullmatch(text):
        return float(text)
    if setting.kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if setting.kind is bool:
        return {"true": True, "false": False}.get(text, text)
    return text


def check_value(setting: Setting, value: object) -> object:
    """The value in its final type. Raises IllFormedError when kind, range or form are wrong."""
    match value:
        case bool():
            fits = setting.kind is bool
        case int() | float():
            value, fits = _number(setting, value)
        case str() if setting.kind in {str, Path}:
            fits = _text_fits(setting, value)
            value = as_path(value) if fits and setting.kind is Path else value
        case list() if setting.kind is tuple:
            value, fits = _texts(setting, value)
        case _:
            fits = False
    if not fits:
        raise IllFormedError
    return value


def _number(setting: Setting, value: float) -> tuple[object, bool]:
    if setting.kind not in {int, float} or (setting.kind is int and isinstance(value, float)):
        return value, False
    low, high = setting.declaration.minimum, setting.declaration.maximum
    assert low is not None, "every number has both bounds"
    assert high is not None, "every number has both bounds"
    inside = low <= value <= high  # also false for what is not a number
    return setting.kind(value) if inside else value, inside


def _text_fits(setting: Setting, value: str) -> bool:
    if not value:
        return setting.declaration.empty
    if setting.choices:
        return value in setting.choices
    fits = setting.declaration.fits
    # A line end or an escape sequence in a name is an accident of copying, never meant.
    return value.isprintable() and (fits is None or fits(value))


def _texts(setting: Setting, value: list[object]) -> tuple[object, bool]:
    texts = tuple(text for text in value if isinstance(text, str))
    fits_list = setting.declaration.fits_list
    fits = len(texts) == len(value) and all(_text_fits(setting, text) for text in texts)
    return texts, fits and (fits_list is None or fits_list(texts))


def as_path(text: str) -> Path:
    """A path; a leading ~/ is the user's own folder, as people expect in a settings file."""
    return Path.home() / text[2:] if text.startswith("~/") else Path(text)


def found(setting: Setting, value: object) -> str:
    """A refused value as a message may show it."""
    if setting.is_secret or not setting.declaration.shown:
        return "a value that is not shown here"
    return show_found(value)


def show_found(value: object) -> str:
    """A value in the notation of migration.toml, cut to a readable length."""
    match value:
        case Mapping():
            return "a table"
        case int() if value.bit_length() > _NUMBER_BITS_SHOWN_MAX:
            text = f"a number of more than {_FOUND_LENGTH_MAX} digits"
        case bool() | int() | float() | str() | list():
            text = json.dumps(value, default=str)
        case _:
            text = str(value)
    return text if len(text) <= _FOUND_LENGTH_MAX else f"{text[:_FOUND_LENGTH_MAX]}..."
