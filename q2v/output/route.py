"""From where to where: the source, the snapshot and the target of a command, each by its name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from migrate.cloudflare.client.base_url import account_fingerprint, parse_base_url
from migrate.ports import Clock, PointSource
from migrate.run.choose.matching import Destination
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import name_scope
from q2v.output.render import Cell, format_duration
from q2v.settings import Settings

NOT_CONFIGURED = "not configured"
NO_ACCOUNT = "no account configured,"
# Of a snapshot whose manifest says `payload_only`.
UNREAD_VECTORS = (
    "those of unchanged payloads were not read again (--payload-only): only a reconcile that reads "
    "the source proves them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What is read, and where it goes."""

    collection: str
    source: str  # address or folder, without secrets
    snapshot_id: str | None  # None: the source as it is now
    sealed_at: str | None  # RFC 3339
    age_s: float | None  # of the snapshot, by the wall clock
    target: Destination
    filter: str | None = None  # that picks the points; None: the whole collection
    left_out: int | None = None  # points that it leaves out

    def document(self) -> dict[str, object]:
        """For JSON."""
        document = asdict(self)
        if self.filter is None:
            del document["filter"], document["left_out"]
        return document

    def cells(self) -> list[tuple[str, Cell]]:
        """The first lines for people."""
        target = self.target
        where = NOT_CONFIGURED
        if target.vector_index is not None:
            account = f"account fingerprint {target.account}" if target.account else NO_ACCOUNT
            where = f"{target.vector_index} ({account} at {target.host})"
        return [
            ("source", f"collection '{self.collection}' at {self.source}"),
            *([] if self.filter is None else [("filter", self._filter())]),
            *([("snapshot", f"{self.snapshot_id}, {self._age()}")] if self.snapshot_id else []),
            ("vector index", where),
            ("KV namespace", target.kv_namespace or NOT_CONFIGURED),
        ]

    def sentence(self) -> str:
        """One line, before anything is written."""
        of = "" if self.filter is None else f"{name_scope(self.filter)} of "
        return (
            f"snapshot {self.snapshot_id} of {of}collection '{self.collection}' ({self._age()}) "
            f"into vector index '{self.target.vector_index}' and KV namespace "
            f"{self.target.kv_namespace} of the account with fingerprint "
            f"{self.target.account} at {self.target.host}"
        )

    def _filter(self) -> str:
        return f"{name_scope(self.filter)}; {self.left_out:,} others are left out"

    def _age(self) -> str:
        return "of unknown age" if self.age_s is None else f"{format_duration(self.age_s)} old"


def route_from_source(source: PointSource, settings: Settings) -> Route:
    """The source as it is now, to the configured target."""
    identity = source.identity()
    return Route(
        collection=identity["collection"],
        source=_place(identity),
        snapshot_id=None,
        sealed_at=None,
        age_s=None,
        target=configured_target(settings),
        filter=identity.get("filter"),
        left_out=source.count_left_out(),
    )


def route_from_snapshot(snapshot: Snapshot, target: Destination, clock: Clock) -> Route:
    """A snapshot, to a target."""
    manifest = snapshot.manifest
    return Route(
        collection=manifest.collection,
        source=_place(manifest.source),
        snapshot_id=manifest.snapshot_id,
        sealed_at=manifest.sealed_at,
        age_s=_age_s(manifest.sealed_at, clock),
        target=target,
        filter=manifest.filter,
        left_out=manifest.left_out,
    )


def configured_target(settings: Settings) -> Destination:
    """The target that the settings name, as far as they do. No token is read."""
    target = settings.target
    url = parse_base_url(target.api_base_url, allow_other_host=target.allow_other_host)
    account = target.account_id
    return Destination(
        host=url.host,
        account=None if account is None else account_fingerprint(account),
        vector_index=target.vector_index,
        kv_namespace=target.kv_namespace_id,
    )


def _place(identity: Mapping[str, str]) -> str:
    return identity.get("url") or identity.get("path") or "an unknown place"


def _age_s(sealed_at: str, clock: Clock) -> float | None:
    """None when the stamp is not a time, or lies in the future: a clock has been set back since."""
    try:
        sealed = datetime.fromisoformat(sealed_at)
    except ValueError:
        return None
    age_s = clock.wall_s() - sealed.replace(tzinfo=sealed.tzinfo or UTC).timestamp()
    return age_s if age_s >= 0 else None
