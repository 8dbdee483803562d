"""The mapping that a shape gets for a sample of points, with its reasons; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from migrate.mapping.field_paths import read_path
from migrate.mapping.payload import Quarantined, map_payload
from migrate.mapping.rules import MappingRules
from migrate.mapping.shapes.recognise import Fields, SamplePoint
from migrate.mapping.shapes.shape import FieldChoice, Shape, is_of_kind
from migrate.mapping.transforms.table import read_transforms
from migrate.words import counted

_KEY_WITHOUT_FILE = "file:{file_id}"  # not used without a group key; the default of the setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A mapping for one collection, and what it does to a sample of its points."""

    shape: Shape
    group_key: str  # the next three: a path, or empty
    order_key: str
    hash_key: str
    metadata_indexes: tuple[str, ...]  # "name:type" each
    reasons: tuple[str, ...]  # of each choice of a field, a line each; empty without points
    points: int  # in the sample
    fitting: int  # of them, with all marks of the shape
    left_out: Mapping[str, int]  # reason -> points among them that would not move

    @property
    def key_template(self) -> str:
        """The KV key of a file."""
        return f"file:{{{self.group_key}}}" if self.group_key else _KEY_WITHOUT_FILE

    def rules(self) -> MappingRules:
        """The mapping as a plan takes it."""
        return MappingRules(
            id_template=self.shape.id_template,
            group_key=self.group_key,
            order_key=self.order_key,
            hash_key=self.hash_key,
            key_template=self.key_template,
            nulls="quarantine",
            truncate_field=None,
            transforms=read_transforms(self.shape.transforms),
        )


def propose(shape: Shape, points: Sequence[SamplePoint]) -> Proposal:
    """Choose the fields by what every point holds; without points, those that are assumed."""
    payloads = [point.fields() for point in points]
    choices = (shape.group, shape.order, shape.hash)
    group, order, digest = (_choose(one, payloads) for one in choices)
    indexed = [one for one in shape.indexed if not points or _has_text(one, payloads)]
    proposal = Proposal(
        shape=shape,
        group_key=group,
        order_key=order,
        hash_key=digest,
        metadata_indexes=tuple(f"{one}:string" for one in filter(None, (group, *indexed))),
        reasons=_reasons(shape, (group, order, digest), payloads) if points else (),
        points=len(points),
        fitting=sum(map(shape.fits, payloads)),
        left_out={},
    )
    return _with_left_out(proposal, points)


def _choose(choice: FieldChoice, payloads: Sequence[Fields]) -> str:
    if not payloads:
        return choice.assumed
    return next((one for one in choice.fields if _is_in_all(one, choice, payloads)), "")


def _is_in_all(field: str, choice: FieldChoice, payloads: Sequence[Fields]) -> bool:
    values = _values(field, choice, payloads)
    return len(values) == len(payloads) and not set(values) <= set(choice.placeholders)


def _values(field: str, choice: FieldChoice, payloads: Sequence[Fields]) -> list[object]:
    """The values of the right kind, of the points that have one."""
    found = (read_path(fields, field) for fields in payloads)
    return [value for value in found if value is not None and is_of_kind(value, choice.kind)]


def _has_text(field: str, payloads: Sequence[Fields]) -> bool:
    """Whether a filter on it would find a point; a plan refuses an index that finds none."""
    return any(isinstance(read_path(fields, field), str) for fields in payloads)


def _reasons(
    shape: Shape, chosen: tuple[str, str, str], payloads: Sequence[Fields]
) -> tuple[str, ...]:
    choices = (shape.group, shape.order, shape.hash)
    settings = ("group_key", "order_key", "hash_key")
    return tuple(
        _reason(setting, field, choice, payloads)
        for setting, field, choice in zip(settings, chosen, choices, strict=True)
        if choice.fields
    )


def _reason(setting: str, field: str, choice: FieldChoice, payloads: Sequence[Fields]) -> str:
    total = counted(len(payloads), "point")
    if field:
        different = len(set(map(str, _values(field, choice, payloads))))
        return f'{setting} = "{field}": a {choice.kind} in all of {total}, {different:,} different'
    found = (
        f"{one} is a {choice.kind} in {len(_values(one, choice, payloads)):,} of {total}"
        for one in choice.fields
    )
    unknown = f' ("{", ".join(choice.placeholders)}" does not count)' if choice.placeholders else ""
    return f'{setting} = "": {"; ".join(found)}{unknown}'


def _with_left_out(proposal: Proposal, points: Sequence[SamplePoint]) -> Proposal:
    rules = proposal.rules()
    outcomes = (map_payload(point.id, point.payload, rules) for point in points)
    reasons = Counter(one.reason.value for one in outcomes if isinstance(one, Quarantined))
    return replace(proposal, left_out=dict(reasons.most_common()))
