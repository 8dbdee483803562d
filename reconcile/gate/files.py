"""Evidence that lies in files: the snapshots, the run, its newest reconcile, its rollback."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.model.stamps import iso_stamp
from migrate.run.drift_report import (
    DriftReport,
    find_newest_report,
    journals_compared,
    read_report,
)
from migrate.run.folder import RunFolder, check_plans
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.sealed.verify import verify_points
from migrate.storage.layout import MANIFEST, REPORT
from migrate.words import counted, minutes_in_words
from reconcile.gate.criteria import Criterion, Evidence
from reconcile.rollback.manifest import build_manifest, check_manifest

_NO_REPORT = "no reconcile of this run has ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The newest finished reconcile of a run."""

    report: DriftReport | None
    place: str  # of report.json, or of the folder where it would lie
    outdated: str  # why it is not about the run as it stands

    @property
    def at(self) -> str | None:
        """When its last read ended, RFC 3339."""
        at = None if self.report is None else self.report.document.get("at")
        return at if isinstance(at, str) else None

    def member(self, name: str) -> dict[str, object]:
        """A member of the report that is an object; empty when it is missing or null."""
        value = {} if self.report is None else self.report.document.get(name)
        return value if isinstance(value, dict) else {}


def read_compared(run: RunFolder) -> Compared:
    """Find and check the newest report. Raises ArtefactDamagedError when it was changed."""
    folder = find_newest_report(run)
    if folder is None:
        return Compared(report=None, place=str(run.reconciles), outdated="")
    now = run.journal.file.hash()[1]
    outdated = ""
    if now not in set(journals_compared(run, folder)):
        outdated = "the run has written since this reconcile"
    return Compared(
        report=read_report(run, folder), place=folder.address(REPORT), outdated=outdated
    )


def later_difference(snapshot: Snapshot) -> str:
    """Text that names a snapshot which continues from this one, or may; empty if there is none."""
    own = snapshot.manifest.snapshot_id
    for folder in sealed_folders(snapshot.folder.parent):
        if folder.name <= own:
            continue
        try:
            parent_id = Snapshot(folder, snapshot.key).manifest.parent_id
        except (ArtefactDamagedError, ForeignStateError) as error:
            return f"a later snapshot may continue from this one, and cannot be read: {error}"
        if parent_id == own:
            return f"snapshot {folder.name} continues from the one that this run has moved"
    return ""


def of_the_comparison(
    run: RunFolder, compared: Compared, indexes: Mapping[str, str]
) -> Iterator[Evidence]:
    """Evidence from the report: freeze, ids, contents, KV index, counter, metadata indexes.

    `indexes` are the metadata indexes that filters use: property -> type.
    """
    report = compared.report
    if report is None:
        for criterion in (
            Criterion.FREEZE,
            Criterion.IDS,
            Criterion.CONTENTS,
            Criterion.KV_INDEX,
            Criterion.COUNTER,
            Criterion.FILTERS,
        ):
            yield _of_report(criterion, compared, None, _NO_REPORT)
        return
    yield _of_report(Criterion.FREEZE, compared, *_freeze(run, compared))
    yield _of_report(Criterion.IDS, compared, *_ids(compared))
    yield _of_report(Criterion.CONTENTS, compared, *_contents(run, compared))
    yield _of_report(
        Criterion.KV_INDEX,
        compared,
        *_classes(
            compared, ("kv_missing", "kv_extra", "kv_mismatched"), ("kv_unlisted", "kv_unreadable")
        ),
    )
    yield _of_report(Criterion.COUNTER, compared, *_counter(compared))
    yield _of_report(Criterion.FILTERS, compared, *_filters(report, indexes))


def _of_report(
    criterion: Criterion, compared: Compared, holds: bool | None, found: str
) -> Evidence:
    return Evidence(
        criterion=criterion,
        holds=holds,
        found=found,
        place=compared.place,
        at=compared.at,
        outdated=compared.outdated,
    )


def _freeze(run: RunFolder, compared: Compared) -> tuple[bool | None, str]:
    manifest = run.snapshot.manifest
    if manifest.moving:
        return False, f"snapshot {manifest.snapshot_id} was read while others wrote to the source"
    moved = compared.member("source_drift")
    if not moved:
        return None, "the reconcile left the source out, or could not read it"
    changes = ", ".join(f"{count} {name}" for name, count in moved.items())
    source = compared.member("counts").get("source")
    if any(moved.values()) or manifest.count_start != manifest.count_end:
        return False, f"the source differs from the snapshot: {changes}"
    if manifest.payload_only:
        return True, (
            f"ids and payloads read twice at {manifest.sealed_at}, the vectors of unchanged "
            f"payloads not again (`q2v catch-up --payload-only`); the source was "
            f"read in full by the reconcile alone, {_counted(source, 'point')}: {changes}"
        )
    return True, (
        f"read twice at {manifest.sealed_at} ({manifest.second_reading} compared) and again by the "
        f"reconcile, {_counted(source, 'point')}: {changes}"
    )


def _counted(found: object, noun: str) -> str:
    """A number of the report in words."""
    return counted(found, noun) if isinstance(found, int) else f"{found} {noun}s"


def _ids(compared: Compared) -> tuple[bool | None, str]:
    counts = compared.member("counts")
    holds, found = _classes(compared, ("missing", "extra"), ("unlisted",))
    return holds, f"{counts.get('expected')} expected, {counts.get('vector_index')} listed; {found}"


def _contents(run: RunFolder, compared: Compared) -> tuple[bool | None, str]:
    coverage = compared.member("coverage")
    checked, bound = coverage.get("checked"), coverage.get("bound")
    holds, found = _classes(compared, ("mismatched", "unreadable"), ())
    if holds and not checked:
        holds = None  # nothing was read back, so nothing is proven
    covered = f"{checked} of {run.vectors} read back ({coverage.get('contents')}"
    if isinstance(bound, float) and coverage.get("contents") == "sampled":
        covered += f": at most {bound:.3%} of all differ"
    read_by = coverage.get("read_by")
    if isinstance(read_by, dict) and read_by.get("verifier"):
        covered += f", {read_by['verifier']} of them by a verifier"
    return holds, f"{covered}); {found}"


def _counter(compared: Compared) -> tuple[bool | None, str]:
    holds, _ = _classes(compared, ("counter",), ())
    counts = compared.member("counts")
    listed = _counted(counts.get("vector_index"), "vector")
    return holds, f"it says {counts.get('kv_counter')}; {listed} listed"


def _filters(report: DriftReport, indexes: Mapping[str, str]) -> tuple[bool | None, str]:
    findings = report.document.get("metadata_indexes")
    if not isinstance(findings, list):
        return None, "the reconcile did not read the metadata indexes"
    states = {
        (one.get("name"), one.get("declared")): one for one in findings if isinstance(one, dict)
    }
    lacking = [name for name, kind in indexes.items() if (name, kind) not in states]
    if lacking:
        return None, f"the reconcile knows nothing of the metadata index on {', '.join(lacking)}"
    if not indexes:
        return True, "no metadata index is declared, so no filter is used"
    said = "; ".join(
        f"{one.get('name')}: {one.get('state')}, {one.get('found')} of "
        f"{_counted(one.get('asked'), 'vector')}"
        for one in states.values()
    )
    found = {one.get("state") for one in states.values()}
    if found <= {"found", "not asked"}:  # not asked: no vector holds such a value, by the plan
        return True, said
    return (None if found <= {"found", "not asked", "refused"} else False), said


def _classes(
    compared: Compared, drift: Sequence[str], contradicted: Sequence[str]
) -> tuple[bool | None, str]:
    """Whether all these numbers are there and 0, and the numbers as text."""
    numbers = {
        **{name: compared.member("drift").get(name) for name in drift},
        **{name: compared.member("contradicted").get(name) for name in contradicted},
    }
    said = ", ".join(
        f"{'?' if number is None else number} {name.removeprefix('kv_')}"
        for name, number in numbers.items()
    )
    if any(number for number in numbers.values()):
        return False, said
    unknown = any(number is None for number in numbers.values())
    return (None if unknown else True), said


def of_the_snapshots(run: RunFolder, runtime: Runtime) -> Evidence:
    """Read every byte of the chain, and check every digest and every plan."""
    snapshot = run.snapshot
    place = str(snapshot.folder)
    try:
        verify_points(snapshot, runtime.progress)
        plans = sum(check_plans(one) for one in snapshot.chain)
    except ArtefactDamagedError as error:
        holds, found = False, str(error)
    else:
        holds = True
        found = (
            f"{counted(snapshot.manifest.points, 'point')} in "
            f"{counted(len(snapshot.chain), 'snapshot')} and {counted(plans, 'plan')}, "
            f"content root {snapshot.manifest.content_root[:16]}"
        )
    return Evidence(
        criterion=Criterion.SNAPSHOT,
        holds=holds,
        found=found,
        place=place,
        at=iso_stamp(runtime.clock.wall_s()),
    )


def of_the_points(run: RunFolder) -> Evidence:
    """From the journal: is everything written, and is everything else accepted?"""
    state, left_out = run.state(), run.quarantined_counts()
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items()) or "none"
    shards = run.plan.mapping.shards
    elsewhere = "" if shards is None else f"of other vector indexes: {run.plan.points_elsewhere}, "
    moved = f"{run.vectors} of {counted(run.plan.points, 'point')} moved"
    if state.rollback_opened:
        done = "is" if state.rollback_completed else "is being"
        moved = f"what it wrote of {counted(run.plan.points, 'point')} {done} undone"
    return Evidence(
        criterion=Criterion.POINTS,
        holds=state.completed and not state.rollback_opened and run.unwaived == 0,
        found=f"run {run.plan.run_id} is {state.phase}: {moved}, "
        f"{elsewhere}left out: {reasons}, not accepted of these: {run.unwaived}",
        place=str(run.journal.file),
        at=None,
    )


def of_the_rollback(
    chain: Sequence[RunFolder], compared: Compared, *, requests_per_5min: int
) -> tuple[Evidence, float | None]:
    """Check what a rollback of the chain needs; also its minutes, None when they are not known.

    `chain` is the run and those that it continues from, the newest first.
    """
    run = chain[0]
    minutes: float | None = None
    place, holds = run.rollback.address(MANIFEST), None
    named = None if compared.report is None else compared.report.document.get("rollback_sha256")
    file = run.rollback.file(MANIFEST)
    if named is None or not file.is_there():
        found = "no reconcile of this run has written a rollback manifest"
    else:
        try:
            minutes = _checked_minutes(chain, requests_per_5min)
            holds = file.hash()[1] == named
            found = f"{minutes_in_words(minutes)} for {counted(len(chain), 'run')}"
            if not holds:
                found = "the rollback manifest is not the one that the reconcile wrote"
        except ArtefactDamagedError as error:
            holds, found = False, str(error)
    evidence = Evidence(
        criterion=Criterion.ROLLBACK,
        holds=holds,
        found=found,
        place=place,
        at=compared.at,
        outdated=compared.outdated,
    )
    return evidence, minutes


def _checked_minutes(chain: Sequence[RunFolder], requests_per_5min: int) -> float:
    """The minutes of undoing every run of the chain; raises when a file of it has changed."""
    minutes = 0.0
    for run in chain:
        if run.state().pre_images is not None:
            manifest = build_manifest(run, requests_per_5min=requests_per_5min)
            check_manifest(run, manifest)
            minutes += manifest.minutes
    return minutes
