"""A payload shape: what one writer puts into every point, and how its points move; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from migrate.mapping.field_paths import read_path
from migrate.mapping.payload import HASH_FORM
from migrate.model.limits import EXACT_INTEGER_MAX

Kind = Literal["text", "text or null", "object", "object or null", "whole number", "SHA-256"]
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Mark:
    """A field that every payload of a shape has."""

    field: str  # a path, as in `migrate.mapping.field_paths`
    kind: Kind

    def is_in(self, fields: Mapping[str, object]) -> bool:
        """Whether a payload has it."""
        return is_of_kind(read_path(fields, self.field, _ABSENT), self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChoice:
    """A rule of the mapping that names a field: which field, by what the points hold."""

    kind: Kind
    fields: tuple[str, ...] = ()  # the first one that every point has is taken
    assumed: str = ""  # without a sample; empty: no field
    # Values that writers put there when they know none; a field that holds nothing else counts
    # as absent.
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one writer puts into every point, and the mapping for it."""

    name: str  # as `q2v init --shape` takes it
    written_by: str
    marks: tuple[Mark, ...]  # empty: never recognised
    id_template: str
    group: FieldChoice = FieldChoice(kind="text")  # names the file
    order: FieldChoice = FieldChoice(kind="whole number")
    hash: FieldChoice = FieldChoice(kind="SHA-256")
    indexed: tuple[str, ...] = ()  # text fields that its readers filter by, besides the file
    transforms: tuple[Mapping[str, object], ...] = ()  # as in [[mapping.transform]]
    advice: tuple[str, ...] = ()  # what the operator may have to decide, a line each

    def fits(self, fields: Mapping[str, object]) -> bool:
        """Whether a payload has all marks of the shape."""
        return bool(self.marks) and all(mark.is_in(fields) for mark in self.marks)


def is_of_kind(value: object, kind: Kind) -> bool:
    """Whether a value, as JSON gives it, is of a kind; an empty text is none."""
    match value:
        case None:
            return kind.endswith("or null")
        case str() if value:
            return kind.startswith("text") or (
                kind == "SHA-256" and bool(HASH_FORM.fullmatch(value))
            )
        case bool():
            return False
        case int():
            return kind == "whole number" and 0 <= value <= EXACT_INTEGER_MAX
        case Mapping():
            return kind.startswith("object")
        case _:
            return False
