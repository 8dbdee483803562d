"""The settings, and what the operator decides for one call, as the rules of each stage."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.shards import counter_key_of
from migrate.mapping.value_rules import hashed_field, index_types, truncated_field
from migrate.migrate import WriteOptions
from migrate.plan.estimate import RequestPace
from migrate.plan.record import RunPlan
from migrate.plan.rules import DELETE_SHARE_DEFAULT, PlanRules
from migrate.plan.saved.agreed import AgreedPlan
from migrate.plan.window import Window
from migrate.provision import ProvisionRules
from migrate.upload.settle import SettleRules
from migrate.workers.executors import OpenMachines, this_machine
from q2v.rules.required import check_required
from q2v.rules.scope import shards_of
from q2v.settings import Settings
from q2v.version import made_by

if TYPE_CHECKING:  # loading these takes a fifteenth of a start; few commands compare or undo
    from reconcile.rollback.report import UndoRules
    from reconcile.stores import ReconcileRules

TOOL = f"q2v {version('qdrant-to-vectorize')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the operator decides for one call, beyond the settings."""

    allow_cast: bool = False
    allow_empty: bool = False
    into_non_empty: bool = False
    waived: tuple[str, ...] = ()
    waived_indexes: frozenset[str] = frozenset()  # metadata indexes with which no filter finds any
    retry_refused: bool = False  # send once more what the target has refused
    forced: frozenset[str] = frozenset()  # ids and keys that a repair overwrites all the same
    dry_run: bool = False  # plan, and write nothing
    max_delete: float = DELETE_SHARE_DEFAULT  # share of the vectors that a catch-up may delete
    agreed: AgreedPlan | None = None  # a saved plan that the run is held to
    saves: bool = False  # the plan is saved, so it needs the digest of its rows
    open_machines: OpenMachines = this_machine  # they map the parts of a new run


def mapping_rules(settings: Settings, *, of_all: bool = False) -> MappingRules:
    """How payload becomes id, metadata and KV key; `of_all`: see `shards_of`."""
    return MappingRules(
        id_template=settings.mapping.id_template,
        group_key=settings.mapping.group_key,
        order_key=settings.mapping.order_key,
        hash_key=settings.mapping.hash_key,
        key_template=settings.kv.key_template,
        nulls=settings.mapping.nulls,
        truncate_field=truncated_field(settings.mapping.oversize_metadata),
        hash_of=settings.mapping.hash_of,
        hash_mismatch=settings.mapping.hash_mismatch,
        group_type=settings.mapping.group_type,
        transforms=settings.mapping.transform,
        long_id_field=hashed_field(settings.mapping.long_ids),
        namespace=settings.mapping.namespace,
        shards=shards_of(settings, of_all=of_all),
    )


def write_rules(settings: Settings, *, of_all: bool = False) -> WriteRules:
    """How the target is written; `of_all`: see `shards_of`, the counters are not named then."""
    shards = shards_of(settings, of_all=of_all)
    own = None if shards is None else shards.own
    return WriteRules(
        vectors_per_upload=settings.limits.vectors_per_upload,
        body_bytes=settings.limits.body_bytes,
        counter_key=settings.kv.counter_key
        if own is None
        else counter_key_of(settings.kv.counter_key, own),
        ttl_s=settings.kv.ttl_s,
    )


def plan_rules(settings: Settings, choices: Choices | None = None) -> PlanRules:
    """What decides about a run, and about refusing to start it."""
    choices = choices or Choices()
    return PlanRules(
        mapping=mapping_rules(settings),
        writes=write_rules(settings),
        vector_name=settings.source.vector_name,
        dimensions=settings.mapping.dimensions,
        reduce=settings.mapping.reduce,
        allow_cast=choices.allow_cast,
        allow_empty=choices.allow_empty,
        into_non_empty=choices.into_non_empty,
        max_quarantine=settings.limits.max_quarantine,
        waived=choices.waived,
        max_delete=choices.max_delete,
        metadata_indexes=index_types(settings.target.metadata_indexes),
        indexes_chosen="target.metadata_indexes" in settings.origins,
        waived_indexes=choices.waived_indexes,
        kv_jurisdiction=settings.target.kv_jurisdiction,
        window=window_rules(settings),
        poll_s=settings.limits.poll_s,
        agreed=choices.agreed,
        digests_rows=choices.saves,
        tool=TOOL,
        origins=settings.origins,
    )


def window_rules(settings: Settings) -> Window:
    """How long the work may take, and at what pace it goes."""
    limits = settings.limits
    return Window(
        deadline_s=limits.deadline_s,
        pace=RequestPace(
            requests_per_5min=limits.requests_per_5min,
            uploads_in_flight=limits.uploads_in_flight,
            reads_in_flight=limits.reads_in_flight,
        ),
        content_full_max=limits.content_full_max,
        content_sample=limits.content_sample,
    )


def _kv_title(settings: Settings) -> str:
    """The title of the namespace, which several indexes share."""
    first, *_ = settings.target.shards or (settings.target.vector_index,)
    return f"{first}-files"


def provision_rules(
    settings: Settings,
    *,
    kv_title: str | None = None,
    kv_preview_title: str | None = None,
    with_preview: bool = True,
    into_non_empty: bool = False,
) -> ProvisionRules:
    """What `q2v provision` makes sure of."""
    check_required(settings, "target.vector_index")
    return ProvisionRules(
        metadata_indexes=index_types(settings.target.metadata_indexes),
        kv_title=_kv_title(settings) if kv_title is None else kv_title,
        shards=settings.target.shards,
        kv_preview_title=kv_preview_title,
        with_preview=with_preview,
        vector_binding=settings.target.vector_binding,
        kv_binding=settings.target.kv_binding,
        kv_namespace_id=settings.target.kv_namespace_id,
        kv_jurisdiction=settings.target.kv_jurisdiction,
        into_non_empty=into_non_empty,
        settle=settle_rules(settings),
    )


def wanted_indexes(plan: RunPlan, settings: Settings) -> dict[str, str]:
    """The metadata indexes that filters on a run's vectors may use: property -> type.

    Those of the plan, and those that the settings name since then, with the type that they name.
    The default of the setting adds nothing to a plan that says which ones there were.
    """
    named = index_types(settings.target.metadata_indexes)
    if plan.metadata_indexes is None:
        return named
    is_chosen = "target.metadata_indexes" in settings.origins
    return plan.metadata_indexes | (named if is_chosen else {})


def settle_rules(settings: Settings) -> SettleRules:
    """How long to wait for processed writes."""
    return SettleRules(timeout_s=settings.limits.settle_timeout_s, poll_s=settings.limits.poll_s)


def write_options(settings: Settings, plan: RunPlan, choices: Choices) -> WriteOptions:
    """How a run by this plan is written."""
    return WriteOptions(
        settle=settle_rules(settings),
        quarantine_cap=settings.limits.max_quarantine,
        deadline_s=settings.limits.deadline_s,
        metadata_indexes=wanted_indexes(plan, settings),
        forced=choices.forced,
        retry_refused=choices.retry_refused,
    )


def undo_rules(settings: Settings) -> "UndoRules":
    """How long a rollback waits, and how often it looks at what others seem to have changed."""
    from reconcile.rollback.report import UndoRules  # noqa: PLC0415 - see above

    return UndoRules(
        settle=settle_rules(settings),
        pause_s=2 * settings.limits.poll_s,
        kv_settle_s=settings.limits.kv_settle_s,
    )


def reconcile_rules(
    settings: Settings, plan: RunPlan, *, full: bool, seed: int
) -> "ReconcileRules":
    """How much reconcile reads; `full` reads every content whatever the size."""
    from reconcile.stores import ReconcileRules  # noqa: PLC0415 - see above

    return ReconcileRules(
        content_full_max=2**63 if full else settings.limits.content_full_max,
        content_sample=settings.limits.content_sample,
        seed=seed,
        pause_s=2 * settings.limits.poll_s,
        kv_settle_s=settings.limits.kv_settle_s,
        page_points=settings.snapshot.page_points,
        requests_per_5min=settings.limits.requests_per_5min,
        metadata_indexes=wanted_indexes(plan, settings),
        made_by=made_by(),
    )
