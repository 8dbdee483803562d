"""What each rule of `mapping.transform` does to the points of a plan: counts and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migrate.mapping.field_paths import Path, format_path
from migrate.mapping.payload import Change, Mapped, shape_of
from migrate.mapping.transforms.rules import Fields, ShardKeyField, Transform
from migrate.mapping.transforms.undo import leaves
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import Page, PointId, ShardKey, decode_shard_key

EXAMPLES = 3  # of each rule
CHANGES_SHOWN = 3  # of one example
VALUE_CHARACTERS = 60
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One value before and after a rule; None where there is none."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a rule did to one point: its first changes, with their values and with shapes only."""

    point_id: PointId
    values: tuple[FieldChange, ...]
    shapes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """What a rule does to the points that move."""

    rule: str  # in words
    points: int
    examples: tuple[Example, ...]


class TransformPreview:
    """Collects examples while a plan walks over the points."""

    def __init__(self, rules: Sequence[Transform]) -> None:
        self._rules = rules
        self._examples: dict[int, list[Example]] = {n: [] for n in range(1, len(rules) + 1)}

    def add_page(self, page: Page, mapped: Sequence[tuple[int, Mapped]]) -> None:
        """Take examples from the points of a page, as long as a rule has too few."""
        open_rules = {n for n, found in self._examples.items() if len(found) < EXAMPLES}
        for position, outcome in mapped:
            if not open_rules:
                return
            applied = {int(n) for change, n in outcome.changes if change is Change.TRANSFORMED}
            if applied & open_rules:
                key = None if page.shard_keys is None else page.shard_keys[position]
                self._add(page.ids[position], page.payloads[position], key, applied & open_rules)
                open_rules = {n for n, found in self._examples.items() if len(found) < EXAMPLES}

    def _add(
        self, point_id: PointId, payload: bytes, key: ShardKey | None, wanted: set[int]
    ) -> None:
        fields = decode_json(payload)
        assert isinstance(fields, dict), "the point was mapped"
        for rule in self._rules:
            if isinstance(rule, ShardKeyField) and key is not None:
                rule.put(fields, decode_shard_key(key))
        for number, rule in enumerate(self._rules, 1):
            before = _leaves(fields) if number in wanted else {}
            if isinstance(rule, ShardKeyField):  # the mapping has added it
                before.pop((rule.name,), None)
            rule.apply(fields)
            if number in wanted:
                self._examples[number].append(_example(point_id, before, _leaves(fields)))

    def effects(self, points: Mapping[str, int]) -> tuple[RuleEffect, ...]:
        """The effect of each rule; `points`: rule number -> points that move."""
        return tuple(
            RuleEffect(
                rule=rule.label,
                points=points.get(str(number), 0),
                examples=tuple(self._examples[number]),
            )
            for number, rule in enumerate(self._rules, 1)
        )


def _example(
    point_id: PointId, before: Mapping[Path, object], after: Mapping[Path, object]
) -> Example:
    paths = dict.fromkeys([*before, *after])
    differ = [
        (path, before.get(path, _ABSENT), after.get(path, _ABSENT))
        for path in paths
        if _text(before.get(path, _ABSENT)) != _text(after.get(path, _ABSENT))
    ][:CHANGES_SHOWN]
    values = (
        FieldChange(field=format_path(path), before=_text(old), after=_text(new))
        for path, old, new in differ
    )
    shapes = (
        FieldChange(field=format_path(path), before=_shape(old), after=_shape(new))
        for path, old, new in differ
    )
    return Example(point_id=point_id, values=tuple(values), shapes=tuple(shapes))


def _leaves(fields: Fields) -> dict[Path, object]:
    """Every value that is no object, by its path. Lists are copied: rules change them in place."""
    return {
        path: list(value) if isinstance(value, list) else value for path, value in leaves(fields)
    }


def _text(value: object) -> str | None:
    if value is _ABSENT:
        return None
    text = encode_canonical_json(value).decode(errors="replace")
    return text if len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - 3] + "..."


def _shape(value: object) -> str | None:
    return None if value is _ABSENT else shape_of(value)
