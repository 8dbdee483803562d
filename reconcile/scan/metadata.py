"""Check each metadata index: that it has the declared type, and that filters find the vectors.

The service adds a vector to a metadata index only when the vector is written after the index was
created, and does not report the vectors that it left out (docs/services.md). So values are taken
from the start, the middle and the end of the snapshot, and a filter has to find the vectors that
hold them, and none of those rows that hold another value. One answer that contains an id is
enough, and so is one that lacks a wrong one: an id is missing when several answers lack it, and
wrong when all of them contain it.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

from migrate.errors import TargetRefusedError
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.plan.metadata_indexes import read_listed_types
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.words import counted
from migrate.workers.repeat import doubling, repeat_until
from reconcile.scan.filter_probes import WINDOWS, Probe, Sample, choose_probes

ATTEMPTS_MAX = 4  # times a filter is asked before an id that it does not find is reported

State = Literal[
    "found", "missing", "other type", "not found", "finds others", "not asked", "refused"
]
DIFFERENT: frozenset[State] = frozenset({"missing", "other type", "not found", "finds others"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFinding:
    """One metadata index, as declared and as found."""

    name: str
    declared: str  # type
    listed: str | None  # the type that the target lists; None = no such index
    state: State
    asked: int = 0  # number of vectors that filters on the property have to find
    found: int = 0  # number of those that the filters found
    wrong: int = 0  # number of vectors found that hold another value
    # Whether the plan, made before the first upload, lists the index; None in runs of older q2v.
    before_upload: bool | None = None
    refusal: str = ""  # error text of the service, in state "refused"

    @property
    def differs(self) -> bool:
        """Whether filters on the property do not find all vectors that they should."""
        return self.state in DIFFERENT

    def in_words(self) -> str:
        """The finding as one sentence for the operator, with the next step."""
        match self.state:
            case "found":
                text = (
                    f"filters find {self.found} of {counted(self.asked, 'vector')} asked "
                    f"for{self._since}"
                )
            case "missing":
                text = (
                    "there is none, so a filter finds nothing; "
                    "`q2v provision --into-non-empty` creates it, then `q2v migrate` writes the "
                    "vectors again"
                )
            case "other type":
                text = (
                    f"its type is {self.listed}, so a filter finds nothing; see RUNBOOK, "
                    "'Filters find nothing'"
                )
            case "not found":
                text = (
                    f"filters find {self.found} of {counted(self.asked, 'vector')} asked for; "
                    "the others "
                    f"were written before the index was created{self._since}"
                )
            case "finds others":
                text = (
                    f"filters find {counted(self.wrong, 'vector')} that hold another value than "
                    "the one "
                    "asked for; `q2v migrate` writes the vectors again"
                )
            case "not asked":
                text = (
                    "no filter was asked: no vector that is as it was written holds a value of "
                    "this type"
                )
            case _:
                text = f"the query was refused: {self.refusal}"
        return f"metadata index '{self.name}' ({self.declared}): {text}"

    @property
    def _since(self) -> str:
        if self.before_upload is None:
            return ""
        since = "was there before" if self.before_upload else "was not there at"
        return f"; by the plan the index {since} the first upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataScan:
    """The findings on all declared metadata indexes."""

    findings: tuple[IndexFinding, ...]

    @property
    def drift(self) -> int:
        """Number of metadata indexes for which `differs` is true."""
        return sum(finding.differs for finding in self.findings)


def scan_metadata(
    run: RunFolder,
    target: VectorTarget,
    wanted: Mapping[str, str],
    runtime: Runtime,
    *,
    left_out: AbstractSet[str],
    pause_s: float,
) -> MetadataScan:
    """Check each of the `wanted` metadata indexes (property -> type).

    `left_out` are ids that already count as missing, mismatched or unreadable; filters are not
    asked for them. An answer that lacks an id is asked for again after `pause_s` seconds, doubling.
    """
    if not wanted:
        return MetadataScan(findings=())
    requests = 1 + WINDOWS * len(wanted)
    runtime.progress.start(
        "asking filters", total=len(wanted), unit="properties", requests=requests
    )
    listed = read_listed_types(target, wanted, pause_s=pause_s, clock=runtime.clock)
    there = {name: kind for name, kind in wanted.items() if listed[name] == kind}
    samples = choose_probes(run, there, left_out) if there else {}

    def repeat(ask: Callable[[], bool]) -> None:
        repeat_until(
            ask,
            bool,
            doubling(pause_s, times=ATTEMPTS_MAX - 1),
            clock=runtime.clock,
            before_pause=lambda _, pause_s: runtime.progress.say(
                "a filter does not find exactly the vectors that it should: asking again in "
                f"{pause_s:.0f} s"
            ),
        )

    findings = []
    for name, kind in wanted.items():
        if name in there:
            finding = _ask(target, name, kind, samples[name], repeat)
        else:
            state: State = "missing" if listed[name] is None else "other type"
            finding = IndexFinding(name=name, declared=kind, listed=listed[name], state=state)
        findings.append(replace(finding, before_upload=_before_upload(run, name, kind)))
        runtime.progress.advance(1)
    return MetadataScan(findings=tuple(findings))


def ids_to_write_again(run: RunFolder, left_out: AbstractSet[str]) -> Iterator[str]:
    """The ids of all vectors of the run except `left_out`, in row order.

    The service adds a vector to a metadata index only when the vector is written again.
    """
    for batch in run.targets(["vector_id"], excluded=run.refused_rows()):
        yield from (
            vector_id
            for vector_id in batch.column("vector_id").to_pylist()
            if vector_id not in left_out
        )


def _before_upload(run: RunFolder, name: str, kind: str) -> bool | None:
    listed = run.plan.metadata_indexes
    return None if listed is None else listed.get(name) == kind


def _ask(
    target: VectorTarget,
    name: str,
    kind: str,
    sample: Sample,
    repeat: Callable[[Callable[[], bool]], None],
) -> IndexFinding:
    asked = found = wrong = 0
    lacking = False
    for probe in sample.probes:
        try:
            answers = _find(target, name, sample, probe, repeat)
        except TargetRefusedError as error:
            return IndexFinding(
                name=name, declared=kind, listed=kind, state="refused", refusal=str(error)
            )
        asked += len(probe.ids)
        found += len(answers.shown)
        wrong += len(answers.wrong)
        # A full answer may lack an id because other vectors hold the value too.
        lacking = lacking or (len(answers.shown) < len(probe.ids) and not answers.full)
    state: State = "found" if asked else "not asked"
    if wrong:
        state = "finds others"
    if lacking:
        state = "not found"
    return IndexFinding(
        name=name, declared=kind, listed=kind, state=state, asked=asked, found=found, wrong=wrong
    )


@dataclass(slots=True)
class _Answers:
    """What the answers to one filter have shown together."""

    shown: set[VectorId]  # ids of the probe that any answer contained
    wrong: set[VectorId]  # ids that hold another value, in every answer
    full: bool = False  # an answer had no room for more ids


def _find(
    target: VectorTarget,
    name: str,
    sample: Sample,
    probe: Probe,
    repeat: Callable[[Callable[[], bool]], None],
) -> _Answers:
    answers = _Answers(shown=set(), wrong=set(sample.known))

    def ask() -> bool:
        ids = target.find(
            probe.values, {name: probe.value}, limit=QUERY_IDS_MAX, namespace=probe.namespace
        )
        answers.shown.update(set(ids) & set(probe.ids))
        answers.wrong &= sample.wrong(probe, ids)
        answers.full = answers.full or len(ids) >= QUERY_IDS_MAX
        is_complete = answers.full or len(answers.shown) == len(probe.ids)
        return is_complete and not answers.wrong

    repeat(ask)
    return answers
