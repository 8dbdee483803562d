"""What a plan rests on: first the target, then the source or a snapshot, point by point."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from migrate.mapping.values import ValueRules
from migrate.plan.estimate import Estimate
from migrate.plan.make import PlanFindings, check_snapshot, check_source, open_id_table
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import check_index
from migrate.provision import TargetState, read_target_state
from migrate.run.choose.find import find_snapshot
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from q2v import wiring
from q2v.executors.options import ChosenExecutor
from q2v.output.following import newest_snapshot
from q2v.output.route import Route, configured_target, route_from_snapshot, route_from_source
from q2v.rules.scope import check_snapshot_collection
from q2v.settings import Settings
from reconcile.parity.record import MeasuredCut, find_cut

# Without one of these nothing is asked at the target.
TARGET_NEEDS = ("target.account_id", "target.vector_index", "target.api_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How points come from a server."""

    transport: str
    compression: str

    def words(self) -> str:
        """For people."""
        packed = "not packed" if self.compression == "identity" else f"packed ({self.compression})"
        return f"{self.transport}, answers {packed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """Everything `q2v plan` shows."""

    route: Route
    values: ValueRules
    findings: PlanFindings
    figures: Estimate
    target: TargetState | None  # None: not configured, not read
    credentials: tuple[str, ...] = ()  # what keys and tokens can do beyond their work
    reading: Transfer | None = None  # None: no server is read
    cut: MeasuredCut | None = None  # what fewer dimensions keep; None: not cut, or not measured


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the target has answered."""

    state: TargetState
    credentials: tuple[str, ...]
    request_s: float | None  # measured


def gather(
    settings: Settings,
    rules: PlanRules,
    directory: WorkFolder,
    runtime: Runtime,
    named: WorkFolder | None,
    *,
    executor: ChosenExecutor,
) -> tuple[PlanResult, Snapshot | None]:
    """Ask the target, then check every point of the snapshot in `named`, or of the source.

    Returns the snapshot too, None for the source. Holds the lock of the folder meanwhile. A token
    without rights, or an index of another shape, is refused before a point is read.

    Raises UsageError for workers without a snapshot that they reach.
    """
    if named is None:
        executor.check_reads_snapshot()
    with ExitStack() as stack:
        credentials = wiring.source_credential_notes(settings) if named is None else ()
        found: Snapshot | None = None
        if named is None:
            asked = _ask_target(settings, rules, directory, runtime)
            source = stack.enter_context(
                wiring.open_source(
                    settings, directory, clock=runtime.clock, progress=runtime.progress
                )
            )
            stack.enter_context(wiring.lock_folder(directory, settings))
            route = route_from_source(source, settings)
            reading = describe_reading(source.identity(), settings)
            _check_shape(asked, rules.choose_values(source.read_collection().vectors), rules)
            values, findings = check_source(
                source, rules, directory, runtime, page_points=settings.snapshot.page_points
            )
        else:
            stack.enter_context(wiring.lock_folder(directory, settings))
            found, reading = find_snapshot(directory, named, wiring.seal_key(settings)), None
            executor.check_reached(found.folder)
            check_snapshot_collection(found, settings)
            route = route_from_snapshot(found, configured_target(settings), runtime.clock)
            asked = _ask_target(settings, rules, directory, runtime)
            _check_shape(asked, rules.choose_values(found.manifest.vectors), rules)
            with open_id_table(
                directory, found.manifest.points, own=rules.mapping.own_index
            ) as table:
                values, findings = check_snapshot(
                    found,
                    rules,
                    table,
                    runtime,
                    open_machines=partial(executor.machines, runtime.progress.say),
                )
    assert rules.window is not None
    request_s = None
    if asked is not None:
        request_s, credentials = asked.request_s, credentials + asked.credentials
    result = PlanResult(
        route=route,
        values=values,
        findings=findings,
        figures=rules.window.estimate(findings.load(values, rules.writes), request_s=request_s),
        target=None if asked is None else asked.state,
        credentials=credentials,
        reading=reading,
        cut=find_measured_cut(directory, found, values, settings),
    )
    return result, found


def unset_target(settings: Settings) -> list[str]:
    """The settings without which the target is not asked, and that have no value."""
    return [key for key in TARGET_NEEDS if settings.value(key) is None]


def _ask_target(
    settings: Settings, rules: PlanRules, directory: WorkFolder, runtime: Runtime
) -> _Asked | None:
    """Read token, index, namespace and metadata indexes; None when the target is not configured."""
    if unset_target(settings):
        return None
    assert settings.target.vector_index is not None
    runtime.progress.say(f"asking the target about vector index '{settings.target.vector_index}'")
    http, _, _ = wiring.open_http(
        settings, directory, clock=runtime.clock, progress=runtime.progress
    )
    try:
        state = read_target_state(
            http,
            rules,
            runtime,
            name=settings.target.vector_index,
            namespace_id=settings.target.kv_namespace_id,
        )
        notes = wiring.target_credential_notes(settings, http)
        return _Asked(state, notes, http.median_answer_s())
    finally:
        http.close()


def _check_shape(asked: _Asked | None, values: ValueRules, rules: PlanRules) -> None:
    """Raises PreconditionError when the index that is there has another shape."""
    if asked is not None and asked.state.index is not None:
        check_index(asked.state.index, values, keeps_name=rules.mapping.shards is not None)


def describe_reading(identity: Mapping[str, str], settings: Settings) -> Transfer | None:
    """The protocol in use and how answers travel; None for an embedded store."""
    transport = identity.get("transport")
    if settings.source.url is None or transport is None:
        return None
    return Transfer(transport=transport, compression=settings.source.compression)


def find_measured_cut(
    directory: WorkFolder, snapshot: Snapshot | None, values: ValueRules, settings: Settings
) -> MeasuredCut | None:
    """What `q2v parity` has measured of this cut, in the snapshot, or else in the newest one."""
    if not values.is_cut:
        return None
    if snapshot is None:
        snapshot = newest_snapshot(directory, settings, wiring.seal_key(settings))
    return None if snapshot is None else find_cut(snapshot, values)
