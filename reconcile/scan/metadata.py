"""Check each metadata index: that it has the declared type, and that filters find the vectors.

The service adds a vector to a metadata index only when the vector is written after the index was
created, and does not report the vectors that it left out (docs/services.md). So values are taken
from the start, the middle and the end of the snapshot, and a filter has to find the vectors that
hold them. One answer that contains an id is enough; an id is missing when several answers lack it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from migrate.errors import TargetRefusedError
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.plan.metadata_indexes import read_listed_types
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.workers.repeat import doubling, repeat_until
from reconcile.scan.filter_probes import WINDOWS, Probe, choose_probes

ATTEMPTS_MAX = 4  # times a filter is asked before an id that it does not find is reported

State = Literal["found", "missing", "other type", "not found", "not asked", "refused"]
DIFFERENT: frozenset[State] = frozenset({"missing", "other type", "not found"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFinding:
    """One metadata index, as declared and as found."""

    name: str
    declared: str  # type
    listed: str | None  # the type that the target lists; None = no such index
    state: State
    asked: int = 0  # number of vectors that filters on the property have to find
    found: int = 0  # number of those that the filters found
    refusal: str = ""  # error text of the service, in state "refused"

    @property
    def differs(self) -> bool:
        """Whether filters on the property do not find all vectors that they should."""
        return self.state in DIFFERENT

    def in_words(self) -> str:
        """The finding as one sentence for the operator, with the next step."""
        index = f"metadata index '{self.name}' ({self.declared})"
        match self.state:
            case "found":
                return f"{index}: filters find {self.found} of {self.asked} vectors asked for"
            case "missing":
                return (
                    f"{index} does not exist: a filter on it finds nothing; `q2v provision` "
                    "creates it, then `q2v migrate` writes the vectors again"
                )
            case "other type":
                return (
                    f"{index} has type {self.listed}: a filter on it finds nothing; see RUNBOOK, "
                    "'Filters find nothing'"
                )
            case "not found":
                return (
                    f"{index}: filters find {self.found} of {self.asked} vectors asked for; the "
                    "others were written before the index was created"
                )
            case "not asked":
                return f"{index}: no vector holds a value of this type, so no filter was asked"
            case "refused":
                return f"{index}: the query was refused: {self.refusal}"


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
    probes = choose_probes(run, there, left_out) if there else {}

    def repeat(ask: Callable[[], bool]) -> None:
        repeat_until(
            ask,
            bool,
            doubling(pause_s, times=ATTEMPTS_MAX - 1),
            clock=runtime.clock,
            before_pause=lambda _, pause_s: runtime.progress.say(
                f"a filter does not find all vectors yet: asking again in {pause_s:.0f} s"
            ),
        )

    findings = []
    for name, kind in wanted.items():
        if name in there:
            finding = _ask(target, name, kind, probes[name], repeat)
        else:
            state: State = "missing" if listed[name] is None else "other type"
            finding = IndexFinding(name=name, declared=kind, listed=listed[name], state=state)
        findings.append(finding)
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


def _ask(
    target: VectorTarget,
    name: str,
    kind: str,
    probes: Iterable[Probe],
    repeat: Callable[[Callable[[], bool]], None],
) -> IndexFinding:
    asked = found = 0
    lacking = False
    for probe in probes:
        try:
            shown, full = _find(target, name, probe, repeat)
        except TargetRefusedError as error:
            return IndexFinding(
                name=name, declared=kind, listed=kind, state="refused", refusal=str(error)
            )
        asked += len(probe.ids)
        found += len(shown)
        # A full answer may lack an id because other vectors hold the value too.
        lacking = lacking or (len(shown) < len(probe.ids) and not full)
    state: State = "not found" if lacking else "found" if asked else "not asked"
    return IndexFinding(
        name=name, declared=kind, listed=kind, state=state, asked=asked, found=found
    )


def _find(
    target: VectorTarget, name: str, probe: Probe, repeat: Callable[[Callable[[], bool]], None]
) -> tuple[set[VectorId], bool]:
    """The ids of the probe that any answer contained, and whether an answer was full."""
    shown: set[VectorId] = set()
    full = False

    def ask() -> bool:
        nonlocal full
        answer = target.find(probe.values, {name: probe.value}, limit=QUERY_IDS_MAX)
        shown.update(set(answer) & set(probe.ids))
        full = full or len(answer) >= QUERY_IDS_MAX
        return full or len(shown) == len(probe.ids)

    repeat(ask)
    return shown, full
