"""What each rule of `mapping.transform` does to the points of a plan: counts and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

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
    """Collects examples of each rule: its first points by row, in whatever order pages are added.

    Pages that are added hold different rows.
    """

    def __init__(self, rules: Sequence[Transform]) -> None:
        self._rules = rules
        # By row, the lowest first.
        self.examples: dict[int, list[tuple[int, Example]]] = {
            number: [] for number in range(1, len(rules) + 1)
        }

    def add_page(
        self, rows: Sequence[int], page: Page, mapped: Sequence[tuple[int, Mapped]]
    ) -> None:
        """Take examples from the points of a page; `rows` has the row of each, ascending."""
        open_rules = self._open_rules(rows[0]) if mapped else set()
        for position, outcome in mapped:
            if not open_rules:
                return  # nor for a later row
            applied = {int(n) for change, n in outcome.changes if change is Change.TRANSFORMED}
            if applied & open_rules:
                key = None if page.shard_keys is None else page.shard_keys[position]
                point_id, payload = page.ids[position], page.payloads[position]
                row = rows[position]
                found = self._read(point_id, payload, key, applied & open_rules)
                self._keep({number: [(row, example)] for number, example in found.items()})
                open_rules = self._open_rules(row)

    def _open_rules(self, row: int) -> set[int]:
        """The rules of which an example from this row would be one of the first."""
        return {
            number
            for number, found in self.examples.items()
            if len(found) < EXAMPLES or row < found[-1][0]
        }

    def merge(self, other: "TransformPreview") -> None:
        """Add the examples from other rows, by the same rules."""
        self._keep(other.examples)

    def _keep(self, examples: Mapping[int, list[tuple[int, Example]]]) -> None:
        for number, found in examples.items():
            by_row = sorted(self.examples[number] + found, key=itemgetter(0))
            self.examples[number] = by_row[:EXAMPLES]

    def _read(
        self, point_id: PointId, payload: bytes, key: ShardKey | None, wanted: set[int]
    ) -> dict[int, Example]:
        """What each of these rules does to a point."""
        examples: dict[int, Example] = {}
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
                examples[number] = _example(point_id, before, _leaves(fields))
        return examples

    def effects(self, points: Mapping[str, int]) -> tuple[RuleEffect, ...]:
        """The effect of each rule; `points`: rule number -> points that move."""
        return tuple(
            RuleEffect(
                rule=rule.label,
                points=points.get(str(number), 0),
                examples=tuple(example for _, example in self.examples[number]),
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
