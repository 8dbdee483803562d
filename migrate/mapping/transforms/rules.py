"""The rules. Each changes the fields of one payload in place; pure otherwise.

A rule that finds nothing to change leaves the fields as they are. None overwrites a field.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from typing_extensions import override

from migrate.mapping.field_paths import Path, format_path
from migrate.model.limits import EXACT_INTEGER_MAX

Fields = dict[str, Any]  # of a payload, as JSON gives them
Keys = tuple[str, ...]  # a path without positions of lists
Table = dict[str, object]  # a rule as the operator writes it, in TOML
ALL, ALL_LEVELS = "*", 0  # of `Flatten`
BIG_INTEGERS, NUMBER_LISTS, DEEP_OBJECTS = "big_integers", "number_lists", "deep_objects"
RULES_MAX = 50  # of a table
KINDS_OF_VALUES = (BIG_INTEGERS, NUMBER_LISTS, DEEP_OBJECTS)


class FieldTakenError(Exception):
    """A rule would put a value where the payload has one."""

    def __init__(self, field: str, rule: "Transform") -> None:
        super().__init__(f"the rule '{rule.label}' would overwrite it")
        self.field = field


@dataclass(frozen=True, slots=True)
class Transform(ABC):
    """One rule."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The rule in words; no two rules of a table have the same."""

    @override
    def __str__(self) -> str:
        return self.label

    @abstractmethod
    def table(self) -> Table:
        """The rule as `read_transforms` takes it."""

    @abstractmethod
    def apply(self, fields: Fields) -> bool:
        """Change the fields; whether anything has changed. Raises FieldTakenError."""

    def moves(self, path: Path) -> Path | None:
        """Where the value at a path of the payload is afterwards; None when it is gone."""
        return path

    def retypes(self, path: Path) -> bool:
        """Whether the value there may become another one."""
        return False

    @property
    def makes(self) -> str | None:
        """The name of the field that the rule makes."""
        return None


@dataclass(frozen=True, slots=True)
class Keep(Transform):
    """Only these fields stay."""

    fields: tuple[Keys, ...]

    @property
    @override
    def label(self) -> str:
        return f"keep {_list(self.fields)}"

    @override
    def table(self) -> Table:
        return {"keep": list(map(format_path, self.fields))}

    @override
    def apply(self, fields: Fields) -> bool:
        return _prune(fields, _kept(self.fields))

    @override
    def moves(self, path: Path) -> Path | None:
        return path if any(_is_below(path, kept) for kept in self.fields) else None


@dataclass(frozen=True, slots=True)
class Drop(Transform):
    """These fields go."""

    fields: tuple[Keys, ...]

    @property
    @override
    def label(self) -> str:
        return f"drop {_list(self.fields)}"

    @override
    def table(self) -> Table:
        return {"drop": list(map(format_path, self.fields))}

    @override
    def apply(self, fields: Fields) -> bool:
        dropped = [_take(fields, path) for path in self.fields]
        return any(one is not _NOTHING for one in dropped)

    @override
    def moves(self, path: Path) -> Path | None:
        return None if any(_is_below(path, gone) for gone in self.fields) else path


@dataclass(frozen=True, slots=True)
class Rename(Transform):
    """The value of a field gets a name at the top."""

    field: Keys
    to: str

    @property
    @override
    def label(self) -> str:
        return f"rename {format_path(self.field)} to {format_path((self.to,))}"

    @override
    def table(self) -> Table:
        return {"rename": format_path(self.field), "to": self.to}

    @override
    def apply(self, fields: Fields) -> bool:
        value = _take(fields, self.field)
        if value is _NOTHING:
            return False
        _put(fields, self.to, value, self)
        return True

    @override
    def moves(self, path: Path) -> Path | None:
        rest = path[len(self.field) :]
        return (self.to, *rest) if _is_below(path, self.field) else path

    @property
    @override
    def makes(self) -> str | None:
        return self.to


@dataclass(frozen=True, slots=True)
class Flatten(Transform):
    """The members of an object become members of what holds it: `{a: {b: 1}}` is `{a_b: 1}`."""

    field: Keys | None  # None: every object at the top
    separator: str
    levels: int  # of objects; ALL_LEVELS

    @property
    @override
    def label(self) -> str:
        what = "all objects" if self.field is None else format_path(self.field)
        levels = "all levels" if self.levels == ALL_LEVELS else f"levels {self.levels}"
        return f"flatten {what} with {self.separator!r}, {levels}"

    @override
    def table(self) -> Table:
        return {
            "flatten": ALL if self.field is None else format_path(self.field),
            "separator": self.separator,
            "levels": "all" if self.levels == ALL_LEVELS else self.levels,
        }

    @override
    def apply(self, fields: Fields) -> bool:
        if self.field is None:
            objects = [(fields, key) for key, value in fields.items() if _is_full(value)]
        else:
            found = _holder(fields, self.field)
            key = self.field[-1]
            objects = [(found, key)] if found is not None and _is_full(found.get(key)) else []
        for holder, key in objects:
            inner = holder.pop(key)
            for name, value in self._members(key, inner):
                _put(holder, name, value, self)
        return bool(objects)

    def _members(self, name: str, inner: Fields) -> Iterator[tuple[str, Any]]:
        """The members under their joined names, those of the first level first."""
        waiting = [(name, inner, 1)]
        for prefix, members, level in waiting:  # grows while it is read
            for key, value in members.items():
                joined = f"{prefix}{self.separator}{key}"
                if _is_full(value) and (self.levels == ALL_LEVELS or level < self.levels):
                    waiting.append((joined, value, level + 1))
                else:
                    yield joined, value

    @override
    def moves(self, path: Path) -> Path | None:
        outer = path[:1] if self.field is None else self.field
        if not _is_below(path, outer) or len(path) == len(outer):
            return path
        name, at = str(outer[-1]), len(outer)
        while at < len(path) and isinstance(path[at], str):
            if self.levels != ALL_LEVELS and at - len(outer) == self.levels:
                break
            name, at = f"{name}{self.separator}{path[at]}", at + 1
        return (*outer[:-1], name, *path[at:])


@dataclass(frozen=True, slots=True)
class ToText(Transform):
    """Values become texts: numbers as JSON spells them, lists item by item, objects as JSON."""

    fields: tuple[Keys, ...]  # the values at these paths, and ...
    of: tuple[str, ...]  # ... those of these kinds anywhere, of KINDS_OF_VALUES

    @property
    @override
    def label(self) -> str:
        return f"to text {', '.join(filter(None, [_list(self.fields), *self.of]))}"

    @override
    def table(self) -> Table:
        return {"to_text": list(map(format_path, self.fields)), "of": list(self.of)}

    @override
    def apply(self, fields: Fields) -> bool:
        changed = False
        for path in self.fields:
            holder = _holder(fields, path)
            if holder is not None and holder.get(path[-1]) is not None:
                text = _as_text(holder[path[-1]])
                changed |= text is not holder[path[-1]]
                holder[path[-1]] = text
        return (bool(self.of) and _replace(fields, self._text_of_kind)) or changed

    def _text_of_kind(self, value: object, level: int) -> object:
        if isinstance(value, list):
            has_numbers = NUMBER_LISTS in self.of and any(
                isinstance(item, _NUMBERS) for item in value
            )
            return _as_text(value) if has_numbers else value
        if isinstance(value, dict):
            return _as_text(value) if level > 1 and DEEP_OBJECTS in self.of else value
        is_big = type(value) is int and abs(value) > EXACT_INTEGER_MAX
        return str(value) if is_big and BIG_INTEGERS in self.of else value

    @override
    def retypes(self, path: Path) -> bool:
        return any(_is_below(path, one) for one in self.fields)


@dataclass(frozen=True, slots=True)
class Nulls(Transform):
    """Every null, at any depth, is left out or becomes a text."""

    text: str | None  # None: left out

    @property
    @override
    def label(self) -> str:
        return "nulls left out" if self.text is None else f"nulls as {self.text!r}"

    @override
    def table(self) -> Table:
        return {"nulls": "leave_out"} if self.text is None else {"nulls": "text", "text": self.text}

    @override
    def apply(self, fields: Fields) -> bool:
        if self.text is None:
            return _leave_out_nulls(fields)
        return _replace(fields, lambda value, _: self.text if value is None else value)


@dataclass(frozen=True, slots=True)
class Truncate(Transform):
    """A text keeps its first characters."""

    field: Keys
    characters: int

    @property
    @override
    def label(self) -> str:
        return f"truncate {format_path(self.field)} at {self.characters} characters"

    @override
    def table(self) -> Table:
        return {"truncate": format_path(self.field), "characters": self.characters}

    @override
    def apply(self, fields: Fields) -> bool:
        holder, key = _holder(fields, self.field), self.field[-1]
        value = None if holder is None else holder.get(key)
        if holder is None or not isinstance(value, str) or len(value) <= self.characters:
            return False
        holder[key] = value[: self.characters]
        return True

    @override
    def retypes(self, path: Path) -> bool:
        return path == self.field


@dataclass(frozen=True, slots=True)
class Constant(Transform):
    """A field with the same value for every vector."""

    name: str
    value: str | float | bool

    @property
    @override
    def label(self) -> str:
        return f"constant {format_path((self.name,))}"

    @override
    def table(self) -> Table:
        return {"constant": self.name, "value": self.value}

    @override
    def apply(self, fields: Fields) -> bool:
        _put(fields, self.name, self.value, self)
        return True

    @property
    @override
    def makes(self) -> str | None:
        return self.name


@dataclass(frozen=True, slots=True)
class ShardKeyField(Transform):
    """A field with the shard key of the point, in a collection with custom sharding.

    The mapping puts it into the payload before it reads a field, so that templates and other rules
    may name it.
    """

    name: str

    @property
    @override
    def label(self) -> str:
        return f"shard key as {format_path((self.name,))}"

    @override
    def table(self) -> Table:
        return {"shard_key": self.name}

    @override
    def apply(self, fields: Fields) -> bool:
        return self.name in fields

    def put(self, fields: Fields, key: int | str) -> None:
        """Add the field. Raises FieldTakenError."""
        _put(fields, self.name, key, self)

    @property
    @override
    def makes(self) -> str | None:
        return self.name


_NOTHING = object()
_CONTAINERS = (dict, list)  # tuples: the union `dict | list` would be built at each test
_NUMBERS = (int, float)


def _list(paths: tuple[Keys, ...]) -> str:
    return ", ".join(map(format_path, paths))


def _is_below(path: Path, outer: Path) -> bool:
    """Whether a path is this one or leads further into it."""
    return path[: len(outer)] == outer


def _is_full(value: object) -> bool:
    return isinstance(value, dict) and bool(value)


def _holder(fields: Fields, path: Keys) -> Fields | None:
    """The object that a path's last key is of."""
    holder: Any = fields
    for step in path[:-1]:
        holder = holder.get(step) if isinstance(holder, dict) else None
    return holder if isinstance(holder, dict) else None


def _take(fields: Fields, path: Keys) -> object:
    holder = _holder(fields, path)
    return _NOTHING if holder is None else holder.pop(path[-1], _NOTHING)


def _put(holder: Fields, name: str, value: object, rule: Transform) -> None:
    if name in holder:
        raise FieldTakenError(name, rule)
    holder[name] = value


Kept = dict[str, "Kept | None"]  # key -> what is kept of its object; None: the value, whole


@lru_cache(maxsize=RULES_MAX)  # asked for with every payload
def _kept(paths: tuple[Keys, ...]) -> Kept:
    """The paths of a rule as a tree."""
    tree: Kept = {}
    for key in dict.fromkeys(path[0] for path in paths):
        below = tuple(path[1:] for path in paths if path[0] == key)
        tree[key] = None if () in below else _kept(below)
    return tree


def _prune(fields: Fields, kept: Kept) -> bool:
    """Remove all that is not kept; whether anything was removed."""
    gone = [key for key in fields if key not in kept]
    inner_changed = False
    for key, below in kept.items():
        if below is None or key not in fields:
            continue
        if isinstance(fields[key], dict):
            inner_changed |= _prune(fields[key], below)
        else:
            gone.append(key)
    for key in gone:
        del fields[key]
    return bool(gone) or inner_changed


def _as_text(value: object) -> object:
    """The value as a text; the same object when it is one, or a list of texts."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        if all(isinstance(item, str) for item in value):
            return value
        return [item if isinstance(item, str) else _json(item) for item in value]
    return _json(value)


def _json(value: object) -> str:
    # The settings are made of these rules, and the help of a command does not wait for orjson.
    from migrate.model.canonical import encode_canonical_json  # noqa: PLC0415 - see above

    return encode_canonical_json(value).decode()


def _replace(fields: Fields, change: Callable[[object, int], object]) -> bool:
    """Change the members of an object, those inside them too; whether any has changed.

    Texts, which most members are, are not asked about: no rule changes them here. `change` gets a
    member and its level, from 1. Not recursive: a payload may be deeper than the stack.
    """
    changed = False
    waiting: list[tuple[Any, int]] = [(fields, 0)]
    for holder, level in waiting:  # grows while it is read
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, member in items:
            if isinstance(member, str):
                continue
            other = change(member, level + 1)
            if other is not member:
                holder[key] = other  # no key is added, so the walk stays valid
                changed = True
            elif isinstance(member, _CONTAINERS):
                waiting.append((member, level + 1))
    return changed


def _leave_out_nulls(fields: Fields) -> bool:
    """Remove the nulls of an object, those inside its members too; whether there were any."""
    changed = False
    waiting: list[Any] = [fields]
    for holder in waiting:  # grows while it is read
        members = holder.values() if isinstance(holder, dict) else holder
        if None in members:
            changed = True
            if isinstance(holder, dict):
                for key in [key for key, member in holder.items() if member is None]:
                    del holder[key]
            else:
                holder[:] = [item for item in holder if item is not None]
        waiting.extend(member for member in members if isinstance(member, _CONTAINERS))
    return changed
