"""A whole table on one payload, and where a field of the payload is afterwards."""

from collections.abc import Sequence

from migrate.mapping.field_paths import Path
from migrate.mapping.transforms.rules import Fields, Transform


def apply_transforms(rules: Sequence[Transform], fields: Fields) -> list[int]:
    """Change the fields by all rules, in their order; the numbers of those that changed something.

    Numbers count from 1. Raises FieldTakenError.
    """
    return [number for number, rule in enumerate(rules, 1) if rule.apply(fields)]


def path_after(rules: Sequence[Transform], path: Path) -> Path | None:
    """Where metadata has the value of a payload's field; None where it has not that value."""
    found: Path | None = path
    for rule in rules:
        if found is None or rule.retypes(found):
            return None
        found = rule.moves(found)
    return found
