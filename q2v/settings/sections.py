"""Every setting, declared once: its type, range, names and default, and below it what it means.

Without a given name the environment variable is made of Q2V_, section and name; a setting has a
flag only when one is given. Help and docs show the text below a field.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from migrate.cloudflare.client.base_url import PUBLIC_BASE_URL
from migrate.mapping import value_rules as rules
from migrate.mapping.transforms.rules import Transform
from migrate.mapping.value_rules import Rule, number, one_of, whole
from migrate.model import choices, limits
from migrate.wrangler.bindings import KV_BINDING, VECTOR_BINDING
from q2v.secret_files import SecretPlace, path_to

COUNT_MAX = limits.SETTING_COUNT_MAX
SECRET = Rule(expected="the path of a file, mode 0600 or stricter", read=lambda path: path or None)
SWITCH = Rule(expected="true or false", read=bool)


def setting(default: object, rule: Rule, *names: str, unset: str = "not set") -> Any:
    """A field of a section. `names`: its variable and flag; `unset`: what None means."""
    return field(default=default, metadata={"rule": rule, "names": names, "unset": unset})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Where the points come from: a server (`url`) or a disk (`path`)."""

    url: str | None = setting(None, rules.URL, "QDRANT_URL", "--source-url")
    """Address of the Qdrant server."""
    grpc_url: str | None = setting(None, rules.URL, unset="host and port of url")
    """Address of gRPC where it has another host or port than url: http or https, host, port."""
    path: Path | None = setting(None, path_to("a folder or file"), "QDRANT_PATH", "--source-path")
    """Embedded store, a stopped server's collections/NAME or snapshot file, or a local mode's
    folder, instead of a server. Read from a copy under --dir; restore writes an embedded store."""
    api_key: SecretPlace | None = setting(None, SECRET, "QDRANT_API_KEY")
    """Key of the Qdrant server; a read-only one is enough, except for restore."""
    collection: str | None = setting(None, rules.COLLECTION, "QDRANT_COLLECTION", "--collection")
    """Collection to move."""
    vector_name: str = setting("", rules.ANY_TEXT, "Q2V_VECTOR_NAME", "--vector-name")
    """Which vector of a point moves; needed when the vectors are named."""
    transport: choices.TransportChoice = setting(
        "auto", one_of(choices.TransportChoice), "Q2V_TRANSPORT", "--transport"
    )
    """How to talk to the server."""
    filter: str | None = setting(None, rules.FILTER, unset="the whole collection")
    """Filter of Qdrant as JSON: only points that match it move; docs/part-of-a-collection.md."""
    compression: choices.Compression = setting("identity", one_of(choices.Compression))
    """Packing of the server's answers: none, or gzip, which suits a slow line and costs it work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Where the vectors go."""

    account_id: str | None = setting(None, rules.NAME, "CLOUDFLARE_ACCOUNT_ID", "--account-id")
    """Cloudflare account."""
    api_token: SecretPlace | None = setting(None, SECRET, "CLOUDFLARE_API_TOKEN")
    """Cloudflare API token; which rights it needs is in the runbook."""
    api_base_url: str = setting(
        PUBLIC_BASE_URL, rules.URL, "CLOUDFLARE_API_BASE_URL", "--api-base-url"
    )
    """Address of the Cloudflare API."""
    allow_other_host: bool = setting(False, SWITCH, "--allow-other-host")
    """Send the token, or ids, to a host that is neither Cloudflare's nor this machine."""
    vector_index: str | None = setting(None, rules.INDEX_NAME, "Q2V_VECTOR_INDEX", "--vector-index")
    """Vectorize index that gets the vectors."""
    shards: tuple[str, ...] = setting((), rules.SHARDS)
    """Indexes that the files are divided over; vector_index is one; docs/several-indexes.md."""
    kv_namespace_id: str | None = setting(
        None, rules.NAME, "Q2V_KV_NAMESPACE_ID", "--kv-namespace-id"
    )
    """Workers KV namespace that gets the file index and the counter."""
    kv_jurisdiction: choices.Jurisdiction | None = setting(
        None, one_of(choices.Jurisdiction), "--kv-jurisdiction", unset="anywhere"
    )
    """Where provision stores KV namespaces, for ever; one of another jurisdiction is refused."""
    vector_binding: str = setting(VECTOR_BINDING, rules.VARIABLE_NAME)
    """Name of the vector index in the configuration and the Env of a Worker."""
    kv_binding: str = setting(KV_BINDING, rules.VARIABLE_NAME)
    """Name of the KV namespace there."""
    verifier_url: str | None = setting(None, rules.URL, "Q2V_VERIFIER_URL", "--verifier")
    """Address of a verifier, a Worker that reads contents back; without one REST reads them."""
    verifier_key: SecretPlace | None = setting(None, SECRET, "Q2V_VERIFIER_KEY")
    """Key that is the verifier's secret Q2V_VERIFIER_KEY too, at least 32 characters."""
    metadata_indexes: tuple[str, ...] = setting(("file_id:string",), rules.METADATA_INDEXES)
    """Metadata indexes, created before the first upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """How a point becomes a vector."""

    id_template: str = setting("{file_id}_{chunk_index}", rules.ID_TEMPLATE, "--id-template")
    """Id of a vector, from payload fields; {point_id} is the id in Qdrant."""
    namespace: str = setting("", rules.NAMESPACE)
    """Vectorize namespace of a vector, from payload fields, as {tenant}; docs/namespaces.md."""
    group_key: str = setting("file_id", rules.FIELD_OR_NONE)
    """Payload field that names the file; empty: no KV file index."""
    group_type: choices.GroupType = setting("text", one_of(choices.GroupType))
    """What that field holds: a text, or an integer from 0 to 2^53 - 1."""
    order_key: str = setting("chunk_index", rules.FIELD_OR_NONE)
    """Payload field with the chunk's number, or another integer to order by; empty: by id."""
    hash_key: str = setting("chunk_hash", rules.FIELD_OR_NONE)
    """Payload field with the chunk's SHA-256 in hex; empty: not required."""
    hash_of: str = setting("", rules.FIELD_OR_NONE)
    """Payload field with the text that the hash is of; empty: hashes are not checked."""
    hash_mismatch: choices.HashMismatch = setting("warn", one_of(choices.HashMismatch))
    """What to do with a point whose hash is not that of its text: count it, or quarantine it."""
    transform: tuple[Transform, ...] = setting((), rules.TRANSFORMS)
    """Rules that change the payload on its way to metadata, in their order; docs/transforms.md."""
    dimensions: int | None = setting(
        None, rules.DIMENSIONS, "Q2V_DIMENSIONS", "--dimensions", unset="as in the source"
    )
    """Values per vector in the target."""
    reduce: choices.Reduce = setting("none", one_of(choices.Reduce), "Q2V_REDUCE", "--reduce")
    """How to get fewer: matryoshka (first values, renormalised) needs a model trained for it."""
    nulls: choices.Nulls = setting("quarantine", one_of(choices.Nulls), "--nulls")
    """What to do with a payload field that is null, which metadata cannot hold: quarantine the
    point, or leave the field out. With either value it is quarantined for a null inside an object
    or a list, or in a field that is needed (group, order or hash key, field of the id template)."""
    oversize_metadata: str = setting("quarantine", rules.OVERSIZE_RULE, "--oversize-metadata")
    """What to do with metadata beyond 10,240 B: quarantine the point, or cut one text field."""
    long_ids: str = setting("quarantine", rules.LONG_IDS)
    """What to do with ids beyond 64 B: quarantine, or a digest, and this field has the whole id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvSettings:
    """How the KV index is written."""

    key_template: str = setting("file:{file_id}", rules.KEY_TEMPLATE)
    """KV key of a file."""
    counter_key: str = setting("_vector_count", rules.KEY)
    """KV key of the counter: how many vectors the index holds, those of before the run too."""
    ttl_s: int | None = setting(None, rules.KV_TTL_S, unset="for ever")
    """Life of KV entries; with one, entries vanish while the vectors stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much, how fast, how long."""

    requests_per_5min: int = setting(
        900, whole(1, limits.REQUESTS_PER_WINDOW_MAX, "requests"), "--requests-per-5min"
    )
    """Requests to Vectorize and KV together in any five minutes."""
    vectors_per_upload: int = setting(2_500, whole(1, limits.VECTORS_PER_UPLOAD_MAX, "vectors"))
    """Vectors in one upload."""
    body_bytes: int = setting(40_000_000, rules.BODY_BYTES)
    """Size of one upload."""
    uploads_in_flight: int = setting(2, whole(1, limits.UPLOADS_IN_FLIGHT_MAX, "uploads"))
    """Uploads that are made and sent at once, each by a process of its own."""
    settle_timeout_s: float = setting(900.0, number(0, 86_400, "seconds"))
    """How long to wait until accepted vectors are processed; grows with their number."""
    poll_s: float = setting(5.0, number(0.01, 300, "seconds"))
    """Pause between two questions about what has been processed."""
    kv_settle_s: float = setting(90.0, number(0, 3_600, "seconds"))
    """How long KV may show former values after a write."""
    max_quarantine: int | None = setting(
        None, rules.POINTS, "--max-quarantine", unset="0.1 %, at least 10, at most 1,000"
    )
    """Points that may be left out before the run stops."""
    content_full_max: int = setting(20_000, whole(0, COUNT_MAX, "vectors"), "--content-full-max")
    """Up to this many vectors reconcile reads every content back, beyond it a sample."""
    content_sample: int = setting(2_400, whole(1, COUNT_MAX, "vectors"), "--content-sample")
    """Size of that sample, drawn by a recorded seed."""
    reads_in_flight: int = setting(8, whole(1, limits.READS_IN_FLIGHT_MAX, "requests"))
    """Requests that read vectors at once; the request budget holds for all of them together."""
    deadline_s: float | None = setting(None, rules.DEADLINE_S, "--deadline-s", unset="none")
    """Stop before the next write after this time; the next run resumes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """How the source is read."""

    page_points: int = setting(1_000, whole(1, 10_000, "points"), "--page-points")
    """Points asked for in one page."""
    # On two cores, while one reader waits for the disk or the source, the others have them.
    readers: int = setting(3, whole(1, 16, "readers"), "--readers")
    """Ranges of ids that are read at once from a server."""
    hmac_key: SecretPlace | None = setting(None, SECRET)
    """Key that seals manifests and plans (HMAC-SHA256), at least 32 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Whom encrypted connections trust, and what they show to Qdrant."""

    ca_file: Path | None = setting(None, path_to("a PEM file"))
    """PEM file of authorities that every connection trusts, besides the usual ones."""
    client_cert_file: Path | None = setting(None, path_to("a PEM file"))
    """PEM file of the certificate, with its chain, that is shown to Qdrant, and to no one else."""
    client_key_file: Path | None = setting(None, path_to("a PEM file"))
    """PEM file of its key, mode 0600 or stricter, without a passphrase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting. Holds no secret, only the places of secrets."""

    source: SourceSettings = field(default_factory=SourceSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    mapping: MappingSettings = field(default_factory=MappingSettings)
    kv: KvSettings = field(default_factory=KvSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    origins: Mapping[str, str] = field(default_factory=dict)  # of those that are not defaults

    def value(self, key: str) -> object:
        """The value of a setting by its dotted name."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    def origin(self, key: str) -> str:
        """Where the value came from, for people."""
        return self.origins.get(key, "default")

    def is_typed(self, key: str) -> bool:
        """Whether its flag gives it."""
        return self.origin(key).startswith("flag ")


SECTIONS: dict[str, Any] = {
    part.name: part.default_factory for part in fields(Settings) if part.name != "origins"
}


def _meanings() -> dict[tuple[str, str], str]:
    """Class and field -> the text below the field, on one line."""
    found: dict[tuple[str, str], str] = {}
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    for section in (part for part in tree.body if isinstance(part, ast.ClassDef)):
        for pair in pairwise(section.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                    found[section.name, name] = " ".join(text.split())
    return found


MEANINGS = _meanings()
