"""Gather the evidence, judge it, and keep the result in the run's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from migrate.cloudflare.client.client import CloudflareHttp
from migrate.errors import ExitCode
from migrate.model.sealed_json import seal_json
from migrate.model.stamps import iso_stamp
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.storage.folder import StoredFile
from reconcile.gate.answers import ask_queries, ask_rights
from reconcile.gate.criteria import (
    OF_THE_OPERATOR,
    Criterion,
    Evidence,
    Row,
    exit_code,
    is_go,
    judge,
)
from reconcile.gate.cut import of_the_cut
from reconcile.gate.files import (
    later_difference,
    of_the_comparison,
    of_the_points,
    of_the_rollback,
    of_the_snapshots,
    read_compared,
)
from reconcile.gate.record import GATE_FORMAT, new_file, read_newest

# Found by each gate itself, unless the recorded rows are asked for.
FOUND_NOW = (Criterion.SNAPSHOT, Criterion.QUERIES, Criterion.RIGHTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What the operator and the settings say."""

    until_s: float | None  # end of the window, seconds since 1970
    age_max_s: float
    indexes: Mapping[str, str]  # metadata indexes that filters use: property -> type
    requests_per_5min: int
    pause_s: float  # before a wrong answer is asked for again
    worker_version: str | None = None  # of the Worker that runs now; a rollback deploys it again
    key_notes: tuple[str, ...] = ()  # what the key of the source can do beyond reading


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The rows of a gate."""

    run_id: str
    snapshot_id: str
    at: str  # RFC 3339
    until: str | None
    rows: tuple[Row, ...]
    file: StoredFile
    worker_version: str | None = None

    @property
    def verdict(self) -> str:
        """`go` when every row passes, else `no-go`."""
        return "go" if is_go(self.rows) else "no-go"

    @property
    def exit_code(self) -> ExitCode:
        """See `criteria.exit_code`."""
        return exit_code(self.rows)

    def document(self) -> dict[str, object]:
        """The JSON document; the record holds it with its seal."""
        return {
            "format": GATE_FORMAT,
            "run_id": self.run_id,
            "snapshot_id": self.snapshot_id,
            "at": self.at,
            "until": self.until,
            **({} if self.worker_version is None else {"worker_version": self.worker_version}),
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "rows": [row.document() for row in self.rows],
            "of_the_operator": list(OF_THE_OPERATOR),
        }


def decide(
    chain: Sequence[RunFolder],
    asked: tuple[Target, CloudflareHttp] | None,
    rules: GateRules,
    runtime: Runtime,
) -> GateReport:
    """Judge every criterion of a run, and keep the result as `gate/<n>.json`.

    `chain` is the run and those that it continues from, the newest first. With `asked` None nothing
    is asked and no part is read: the newest recorded gate gives these rows. Writes to no store.
    Raises ArtefactDamagedError when the report, the plan or the journal was changed.
    """
    run = chain[0]
    later = later_difference(run.snapshot)
    compared = read_compared(run)
    rollback, minutes = of_the_rollback(chain, compared, requests_per_5min=rules.requests_per_5min)
    evidence = [
        *of_the_comparison(run, compared, rules.indexes),
        of_the_points(run),
        of_the_cut(run),
        rollback,
        *(recorded(run) if asked is None else _found_now(run, *asked, rules, runtime)),
    ]
    now_s = runtime.clock.wall_s()
    evidence.append(_window(run, minutes, rules.until_s, now_s))
    if later:
        evidence = [replace(one, outdated=later) for one in evidence]
    rows = judge(
        evidence,
        now_s=now_s,
        age_max_s=rules.age_max_s,
        of_undone=run.state().rollback_opened,
    )
    report = GateReport(
        run_id=run.plan.run_id,
        snapshot_id=run.plan.snapshot_id,
        at=iso_stamp(now_s),
        until=None if rules.until_s is None else iso_stamp(rules.until_s),
        rows=tuple(rows),
        file=new_file(run),
        worker_version=rules.worker_version,
    )
    journal = run.journal.file.hash()[1]
    fields = {
        **report.document(),
        "journal_sha256": journal,
        "evidence": [_encode(row.evidence) for row in rows if row.evidence is not None],
    }
    report.file.write(seal_json(fields, run.snapshot.key))
    return report


def _found_now(
    run: RunFolder, target: Target, http: CloudflareHttp, rules: GateRules, runtime: Runtime
) -> list[Evidence]:
    return [
        of_the_snapshots(run, runtime),
        ask_queries(run, target, rules.indexes, runtime, pause_s=rules.pause_s),
        ask_rights(http, run, runtime, until_s=rules.until_s, key_notes=rules.key_notes),
    ]


def _window(run: RunFolder, minutes: float | None, until_s: float | None, now_s: float) -> Evidence:
    """Whether the rollback fits into what is left."""
    holds: bool | None = None
    if until_s is None:
        found = "the end of the window is not named"
    elif minutes is None:
        found = "the time of a rollback is not known before a reconcile"
    else:
        left = (until_s - now_s) / 60
        holds = left >= minutes
        end = iso_stamp(until_s)
        found = (
            f"{left:.0f} min are left until {end}, a rollback takes {minutes:.0f}"
            if left >= 0
            else f"it ended {-left:.0f} min ago, at {end}; a rollback takes {minutes:.0f}"
        )
    return Evidence(
        criterion=Criterion.WINDOW,
        holds=holds,
        found=found,
        place=f"run {run.plan.run_id}",
        at=iso_stamp(now_s),
    )


def recorded(run: RunFolder) -> list[Evidence]:
    """What the newest gate of this run found itself, as of then."""
    record = read_newest(run)
    if record is None:
        return []
    since = (
        ""
        if record["journal_sha256"] == run.journal.file.hash()[1]
        else ("the run has written since this was found")
    )
    encoded = record["evidence"]
    assert isinstance(encoded, list)
    found = [_decode(one) for one in encoded]
    return [
        replace(one, outdated=since or one.outdated) for one in found if one.criterion in FOUND_NOW
    ]


def _encode(evidence: Evidence) -> dict[str, object]:
    return {
        "criterion": evidence.criterion.name,
        "holds": evidence.holds,
        "found": evidence.found,
        "place": evidence.place,
        "at": evidence.at,
        "outdated": evidence.outdated,
    }


def _decode(fields: dict[str, object]) -> Evidence:
    """The inverse; the record is sealed, so its members have their types."""
    holds, at = fields["holds"], fields["at"]
    assert holds is None or isinstance(holds, bool)
    return Evidence(
        criterion=Criterion[str(fields["criterion"])],
        holds=holds,
        found=str(fields["found"]),
        place=str(fields["place"]),
        at=None if at is None else str(at),
        outdated=str(fields["outdated"]),
    )
