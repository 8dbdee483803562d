"""The verdict of a plan in words, and what a reader should not miss."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from migrate.errors import MigrationError
from migrate.plan.estimate import LONG_ROLLBACK, is_long_rollback
from migrate.plan.target_shape import BEYOND_AN_INDEX_REMEDY, beyond_an_index
from migrate.words import counted
from q2v.commands.prepare.plan.gathering import PlanResult, unset_target
from q2v.output.configured import environment_warnings
from q2v.output.render import format_reasons
from q2v.settings import BY_KEY, Settings


class Word(StrEnum):
    """The verdict, the gravest first."""

    DOES_NOT_FIT = "does not fit"
    NOT_CONFIGURED = "target not configured"
    DECISION = "needs a decision"
    FITS = "fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict with its reasons; each reason is a sentence."""

    word: Word
    reasons: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """For JSON."""
        return {"word": self.word.value, "reasons": list(self.reasons)}

    def lines(self) -> list[str]:
        """For people: one reason beside the word, several below it."""
        if len(self.reasons) <= 1:
            return [": ".join((self.word.value, *self.reasons))]
        return [f"{self.word.value}:", *(f"- {reason}" for reason in self.reasons)]


def judge(
    result: PlanResult, settings: Settings, failure: MigrationError | None, *, is_moved: bool
) -> Verdict:
    """What the plan says in words. `is_moved`: a run has begun to move these points."""
    decisions = list(_decisions(result, settings, is_moved=is_moved))
    if failure is not None:
        return Verdict(word=Word.DOES_NOT_FIT, reasons=(str(failure), *decisions))
    unset = unset_target(settings)
    if unset:
        named = ", ".join(f"{key} ({BY_KEY[key].environment})" for key in unset)
        verb = "is" if len(unset) == 1 else "are"
        why = f"{named} {verb} not set, so nothing was asked there; the points fit any index"
        return Verdict(word=Word.NOT_CONFIGURED, reasons=(why, *decisions))
    if decisions:
        return Verdict(word=Word.DECISION, reasons=tuple(decisions))
    return Verdict(word=Word.FITS, reasons=(_moving(result),))


def _moving(result: PlanResult) -> str:
    findings, state = result.findings, result.target
    moving = f"{counted(findings.vectors, 'point')} of {findings.points:,} move"
    assert state is not None, "the target was asked"
    lacking = [
        *(["the vector index"] if state.index is None else []),
        *(["the KV namespace"] if state.kv_namespace_id is None else []),
        *(
            [counted(len(state.metadata_indexes_missing), "metadata index")]
            if state.index is not None and state.metadata_indexes_missing
            else []
        ),
    ]
    if not lacking:
        return moving
    way = "`q2v provision --into-non-empty`" if state.vectors_listed else "`q2v provision`"
    return f"{moving}; {way} has to create {' and '.join(lacking)} first"


def _decisions(result: PlanResult, settings: Settings, *, is_moved: bool) -> Iterator[str]:
    """What the operator has to decide or to mend before the move."""
    findings, figures = result.findings, result.figures
    left_out = sum(findings.quarantined.values())
    if left_out:
        yield (
            f"{format_reasons(findings.quarantined)} of {counted(findings.points, 'point')} cannot "
            "move: mend them, or accept a reason with `q2v migrate --waive REASON`"
        )
    beyond = beyond_an_index(findings.vectors)
    if beyond is not None:
        yield f"{beyond}: {BEYOND_AN_INDEX_REMEDY}"
    if result.values.is_cut:
        yield from _of_the_cut(result)
    if result.target is not None and result.target.vectors_listed and not is_moved:
        yield (
            f"the vector index is not empty: {_way_to_empty(settings)}, or write into it with "
            "`q2v migrate --into-non-empty`"
        )
    yield from (
        f"a filter on '{one.name}' finds {one.fitting:,} of {counted(findings.vectors, 'vector')}: "
        f"its metadata index holds values of type {one.declared}, the vectors hold {one.in_words()}"
        for one in findings.property_types
        if one.fitting < findings.vectors
    )
    if is_long_rollback(figures.rollback_minutes):
        yield LONG_ROLLBACK
    yield from environment_warnings()


def _way_to_empty(settings: Settings) -> str:
    return "`q2v reset-target` empties it" if settings.target.shards else "name a fresh one"


def _of_the_cut(result: PlanResult) -> Iterator[str]:
    """A cut of dimensions that was not measured, not judged, or keeps too little."""
    width, cut = result.values.dimensions, result.cut
    how = f"`q2v parity --at {width} --min-overlap SHARE`"
    if cut is None:
        yield (
            f"nothing says how much of search the cut to {width:,} dimensions keeps: measure it "
            f"in a snapshot with {how}"
        )
    elif cut.holds is None:
        yield f"{cut.in_words()}: {how} judges it, as the gate wants"
    elif not cut.holds:
        yield f"{cut.in_words()}: choose more dimensions, or another share"
