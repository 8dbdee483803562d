"""`q2v plan --out FILE`: the plan as a file that `q2v migrate FILE` is held to."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.model.stamps import iso_stamp
from migrate.plan.make import PlanFindings
from migrate.plan.quarantine import encode_quarantine
from migrate.plan.saved.agreed import AgreedPlan
from migrate.plan.saved.agreement import check_settings, check_target_names
from migrate.plan.saved.record import (
    BYTES_MAX,
    KIND,
    PlannedSource,
    PlannedTarget,
    SavedPlan,
    decode_saved,
    encode_saved,
)
from migrate.run.next_step import Situation
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.local_folder import local_file
from q2v import wiring
from q2v.commands.prepare.plan.gathering import PlanResult, unset_target
from q2v.options import MAPPING, SHAPE
from q2v.output.following import Following
from q2v.output.named_files import Kind, check_result_file
from q2v.output.render import encode_document
from q2v.output.route import Route, configured_target
from q2v.rules.stages import TOOL, Choices
from q2v.settings import BY_KEY, Settings

_PLAN = Kind("a saved plan", (f'"kind":"{KIND}"'.encode(),))
_LEFT_OUT = Kind("a list of points that are left out", (b'"point_id_type":', b'"reason":'))
# The settings that decide what is written, beside the names of source and target.
DECIDING = (
    *SHAPE,
    *MAPPING,
    "kv.ttl_s",
    "limits.vectors_per_upload",
    "limits.body_bytes",
    "limits.max_quarantine",
    "target.metadata_indexes",
    "target.kv_jurisdiction",
)


def refuse_unset_target(settings: Settings, out: Path) -> None:
    """Raises UsageError where a saved plan could not say where it goes."""
    unset = unset_target(settings)
    if unset:
        named = ", ".join(BY_KEY[key].ways() for key in unset)
        raise UsageError(
            f"--out {out}: a saved plan names its target, and the target is not configured",
            remedy=f"set {named}; or leave --out away",
        )


def check_files(out: Path) -> None:
    """Before a point is read. Raises UsageError and LocalStorageError as `check_result_file`."""
    check_result_file(out, flag="--out", kind=_PLAN)
    check_result_file(
        _left_out_path(out), flag="--out writes the points that are left out to", kind=_LEFT_OUT
    )


def deciding_settings(settings: Settings) -> dict[str, str]:
    """Name -> value, as JSON; plans of older versions do not have `target.shards`."""
    return {
        key: json.dumps(settings.value(key), default=str, sort_keys=True, ensure_ascii=False)
        for key in DECIDING
        if key != "target.shards" or settings.target.shards
    }


def planned_source(route: Route, snapshot: Snapshot | None) -> PlannedSource:
    """What is to be moved, by its names."""
    return PlannedSource(
        collection=route.collection,
        place=route.source,
        filter=route.filter,
        snapshot_id=route.snapshot_id,
        content_root=None if snapshot is None else snapshot.manifest.content_root,
    )


def save(
    result: PlanResult,
    settings: Settings,
    choices: Choices,
    *,
    snapshot: Snapshot | None,
    shown: Mapping[str, object],
    out: Path,
) -> SavedPlan:
    """Write the file; the target has been asked."""
    plan = _plan_of(result, settings, choices, snapshot, shown)
    local_file(out).write(encode_saved(plan, wiring.seal_key(settings)))
    return plan


def save_left_out(findings: PlanFindings, out: Path) -> Path | None:
    """Write every point that is left out beside the plan, also of one that does not fit.

    When none is left out, the list of an earlier plan is emptied, and None is returned.
    """
    path = _left_out_path(out)
    file, has_any = local_file(path), bool(findings.quarantined)
    if has_any or file.is_there():
        file.write(encode_quarantine(findings.quarantined_points))
    return path if has_any else None


def _left_out_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.quarantine.jsonl")


def _plan_of(
    result: PlanResult,
    settings: Settings,
    choices: Choices,
    snapshot: Snapshot | None,
    shown: Mapping[str, object],
) -> SavedPlan:
    target, state = result.route.target, result.target
    assert state is not None, "the target was asked"
    assert target.host is not None
    assert target.account is not None
    assert target.vector_index is not None
    return SavedPlan(
        tool=TOOL,
        created_at=iso_stamp(wiring.system_clock().wall_s()),
        source=planned_source(result.route, snapshot),
        target=PlannedTarget(
            host=target.host,
            account=target.account,
            vector_index=target.vector_index,
            kv_namespace=target.kv_namespace,
            dimensions=result.values.dimensions,
            metric=result.values.metric,
            created_on=None if state.index is None else state.index.created_on,
            holds=state.holds,
        ),
        counts=result.findings.counts(),
        settings=deciding_settings(settings),
        allow_cast=choices.allow_cast,
        allow_empty=choices.allow_empty,
        waived_indexes=tuple(sorted(choices.waived_indexes)),
        shown=json.loads(
            encode_document(
                {name: part for name, part in shown.items() if name != "quarantined_points"}
            )
        ),
    )


def open_agreed(
    directory: WorkFolder, named: Path | None, key: SealKey | None
) -> AgreedPlan | None:
    """The saved plan of this name; None when the name is not that of a file."""
    file = wiring.open_named_file(directory, named)
    if file is None:
        return None
    plan = decode_saved(file.read(bytes_max=BYTES_MAX), where=str(file), key=key)
    return AgreedPlan(plan, str(file))


def held_to(agreed: AgreedPlan, choices: Choices, settings: Settings) -> Choices:
    """The choices with what the plan allows. Raises PreconditionError for other settings."""
    plan, where = agreed.plan, agreed.where
    check_settings(plan, deciding_settings(settings), where)
    target = configured_target(settings)
    check_target_names(plan, asdict(target), where)
    return replace(
        choices,
        agreed=agreed,
        allow_cast=choices.allow_cast or plan.allow_cast,
        allow_empty=choices.allow_empty or plan.allow_empty,
        waived_indexes=choices.waived_indexes | frozenset(plan.waived_indexes),
    )


def planned(agreed: AgreedPlan) -> Path | None:
    """The snapshot that the plan names; None: the newest, since the source itself was planned."""
    named = agreed.plan.source.snapshot_id
    return None if named is None else Path(named)


def with_plan(following: Following, out: Path) -> Following:
    """Where `q2v migrate` comes next, it is the one that is held to this plan."""
    if following.situation is not Situation.SNAPSHOT_SEALED:
        return following
    options = [word for at, word in enumerate(following.argv) if at > 1]
    if options and not options[0].startswith("-"):
        del options[0]  # the snapshot, which the plan names
    # As an argument a name that begins with "-" is read as an option.
    named = f"./{out}" if str(out).startswith("-") else str(out)
    argv = ("q2v", "migrate", named, *options)
    return replace(following, argv=argv, text=shlex.join(argv))
