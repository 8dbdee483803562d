"""What each rule of `mapping.transform` does, as a plan shows it."""

from collections.abc import Iterator

from migrate.plan.make import PlanFindings
from migrate.plan.transforms import Example, FieldChange, RuleEffect
from migrate.words import counted
from q2v.output.render import format_bytes

NOTHING = "-"


def document(findings: PlanFindings, *, show_values: bool) -> list[dict[str, object]]:
    """For the JSON document; values only on request, else what they are."""
    return [
        {
            "rule": effect.rule,
            "points": effect.points,
            "examples": [
                {
                    "point_id": example.point_id.text,
                    "changes": [
                        {"field": one.field, "before": one.before, "after": one.after}
                        for one in _changes(example, show_values=show_values)
                    ],
                }
                for example in effect.examples
            ],
        }
        for effect in findings.transforms
    ]


def lines(findings: PlanFindings, *, show_values: bool) -> Iterator[str]:
    """For people."""
    for number, effect in enumerate(findings.transforms, 1):
        yield from _effect_lines(number, effect, show_values=show_values)
    if findings.transforms:
        saved = findings.bytes_saved
        verb = "shorter" if saved >= 0 else "longer"
        yield f"metadata is {format_bytes(abs(saved))} {verb} than the payloads"


def _effect_lines(number: int, effect: RuleEffect, *, show_values: bool) -> Iterator[str]:
    if not effect.points:
        yield f"note: rule {number} ({effect.rule}) changes no point; correct it, or remove it"
        return
    yield f"rule {number} ({effect.rule}) changes {counted(effect.points, 'point')}, for example"
    for example in effect.examples:
        for one in _changes(example, show_values=show_values):
            yield (
                f"  {example.point_id.text}: {one.field}: {one.before or NOTHING} -> "
                f"{one.after or NOTHING}"
            )


def _changes(example: Example, *, show_values: bool) -> tuple[FieldChange, ...]:
    return example.values if show_values else example.shapes
