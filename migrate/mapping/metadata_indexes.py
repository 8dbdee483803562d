"""What a metadata index holds of a vector, and what a filter on it finds. Pure.

A filter finds a vector by a property only when the property has a metadata index, the value has
the index's type, and the vector was written after the index was created (docs/services.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from migrate.model.limits import INDEXED_STRING_BYTES_MAX

MISSING, OTHER = "missing", "list or object"
Indexed = str | float | bool


def look_up(metadata: Mapping[str, object], name: str) -> object:
    """The value of a property; dots in the name reach into objects. None without one."""
    value: object = metadata
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def type_of(value: object) -> str:
    """The index type that a value fits, or why it fits none."""
    match value:
        case None:
            return MISSING
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
        case _:
            return OTHER


def indexed_value(value: object, index_type: str) -> Indexed | None:
    """What an index of this type holds of a value: numbers as float64, the start of a text.

    None when the index does not hold it. The empty text is left out too: whether a filter may
    ask for it is not documented.
    """
    if type_of(value) != index_type:
        return None
    match value:
        case str():
            return cut_text(value) or None
        case bool():
            return value
        case int() | float():
            return float(value)
        case _:
            return None


def cut_text(text: str) -> str:
    """The first 64 bytes, cut at a character."""
    encoded = text.encode(errors="surrogatepass")
    return encoded[:INDEXED_STRING_BYTES_MAX].decode(errors="ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyTypes:
    """Counts of the values that the moving vectors hold for one declared property."""

    name: str
    declared: str  # string, number or boolean
    found: dict[str, int]  # type -> vectors; `missing` and `list or object` are not types

    @property
    def fitting(self) -> int:
        """Vectors that a filter on the property can find."""
        return self.found.get(self.declared, 0)

    @property
    def absent(self) -> bool:
        """Whether no vector holds the property."""
        return set(self.found) <= {MISSING}

    def in_words(self) -> str:
        """The counts, the largest first."""
        ordered = sorted(self.found.items(), key=lambda one: (-one[1], one[0]))
        return ", ".join(f"{kind} {count:,}" for kind, count in ordered) or "no vectors"
