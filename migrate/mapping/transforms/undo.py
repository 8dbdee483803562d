"""From changed metadata back to a payload, as far as the rules tell where a field was."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from migrate.mapping.field_paths import Path, read_steps
from migrate.mapping.transforms.apply import path_after
from migrate.mapping.transforms.rules import Constant, Fields, Transform

_ABSENT = object()


def undo_transforms(
    rules: Sequence[Transform],
    payload: Fields,
    sent: Mapping[str, object],
    found: Mapping[str, object],
) -> Fields:
    """The payload with what differs between the metadata sent and found; changed in place.

    A field that metadata had with its value goes back to its place. Any other that was added or
    changed gets its name at the top: the rules do not say what it was made of.
    """
    return _place(rules, payload, [path for path, _ in leaves(payload)], sent, found)


def place_fields(rules: Sequence[Transform], paths: Iterable[Path], found: Fields) -> Fields:
    """A payload of metadata that was never one: each field at that of the `paths` it comes from.

    The first path counts. Any other field gets its name at the top; a constant is left out.
    """
    made: Fields = {rule.name: rule.value for rule in rules if isinstance(rule, Constant)}
    keys_only = [path for path in paths if all(isinstance(step, str) for step in path)]
    return _place(rules, {}, keys_only, made, found)


def _place(
    rules: Sequence[Transform],
    payload: Fields,
    paths: Iterable[Path],
    sent: Mapping[str, object],
    found: Mapping[str, object],
) -> Fields:
    known: set[Path] = set()
    for path in paths:
        there = path_after(rules, path)
        if there is None or there in known:
            continue
        known.add(there)
        now = read_steps(found, there, _ABSENT)
        if now != read_steps(sent, there, _ABSENT):
            _write(payload, path, now)
    for path, value in leaves(found):
        is_placed = any(path[:end] in known for end in range(1, len(path) + 1))
        if not is_placed and value != read_steps(sent, path, _ABSENT):
            _write(payload, path, value)
    return payload


def leaves(fields: Mapping[str, object]) -> Iterator[tuple[Path, object]]:
    """Every value that is no object, with its path; an empty object is one."""
    waiting: list[tuple[Path, object]] = [((key,), value) for key, value in fields.items()]
    waiting.reverse()
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [((*path, key), inner) for key, inner in reversed(list(value.items()))]
        else:
            yield path, value


def _write(payload: Fields, path: Path, value: object) -> None:
    holder: Any = payload
    for step in path[:-1]:
        inner = holder.get(step)
        if not isinstance(inner, dict):
            inner = holder[step] = {}
        holder = inner
    if value is _ABSENT:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = copy.deepcopy(value)
