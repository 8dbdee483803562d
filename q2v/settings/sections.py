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
from typing import Any, Literal

from migrate.mapping import value_rules as rules
from migrate.mapping.value_rules import Rule, number, one_of
from migrate.model import limits
from q2v.secret_files import SecretPlace

Transport = Literal["auto", "grpc", "rest"]
Compression = Literal["identity", "gzip"]
Jurisdiction = Literal["eu", "us", "fedramp"]
HashMismatch = Literal["warn", "quarantine"]
Reduction = Literal["none", "matryoshka"]
Nulls = Literal["quarantine", "leave_out"]

PUBLIC_API = "https://api.cloudflare.com/client/v4"
COUNT_MAX = limits.SETTING_COUNT_MAX
SECRET = Rule(expected="the path of a file, mode 0600 or stricter", read=lambda path: path or None)
SWITCH = Rule(expected="true or false", read=bool)


def path_to(what: str) -> Rule:
    """A path; a leading ~/ is the user's own folder, as people expect in a settings file."""

    def read(text: str) -> Path | None:
        path = Path.home() / text[2:] if text.startswith("~/") else Path(text)
        return path if text and text.isprintable() else None

    return Rule(expected=f"the path of {what}", read=read)


def setting(rule: Rule, *names: str, default: object = None, unset: str = "not set") -> Any:
    """A field of a section. `names`: its variable and flag; `unset`: what None means."""
    declared = {"rule": rule, "names": names, "unset": unset}
    return field(default=default, metadata=declared)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Where the points come from: a server (`url`) or an embedded store (`path`)."""

    url: str | None = setting(rules.URL, "QDRANT_URL", "--source-url")
    """Address of the Qdrant server."""
    path: Path | None = setting(path_to("a folder"), "QDRANT_PATH", "--source-path")
    """Folder of an embedded Qdrant store, or a stopped server's folder collections/NAME, instead
    of a running server. It is read from a copy under --dir."""
    api_key: SecretPlace | None = setting(SECRET, "QDRANT_API_KEY")
    """Key of the Qdrant server; a read-only one is enough."""
    collection: str | None = setting(rules.COLLECTION, "QDRANT_COLLECTION", "--collection")
    """Collection to move."""
    vector_name: str = setting(rules.ANY_TEXT, "Q2V_VECTOR_NAME", "--vector-name", default="")
    """Which vector of a point moves; needed when the vectors are named."""
    transport: Transport = setting(
        one_of(Transport), "Q2V_TRANSPORT", "--transport", default="auto"
    )
    """How to talk to the server."""
    compression: Compression = setting(one_of(Compression), default="identity")
    """What the server's answers are packed with: identity is not at all; gzip is for a slow line,
    and costs the server several times the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Where the vectors go."""

    account_id: str | None = setting(rules.NAME, "CLOUDFLARE_ACCOUNT_ID", "--account-id")
    """Cloudflare account."""
    api_token: SecretPlace | None = setting(SECRET, "CLOUDFLARE_API_TOKEN")
    """Cloudflare API token; which rights it needs is in the runbook."""
    api_base_url: str = setting(
        rules.URL, "CLOUDFLARE_API_BASE_URL", "--api-base-url", default=PUBLIC_API
    )
    """Address of the Cloudflare API."""
    allow_other_host: bool = setting(SWITCH, "--allow-other-host", default=False)
    """Send the token to a host that is neither the public API nor this machine."""
    vector_index: str | None = setting(rules.INDEX_NAME, "Q2V_VECTOR_INDEX", "--vector-index")
    """Vectorize index that gets the vectors."""
    kv_namespace_id: str | None = setting(rules.NAME, "Q2V_KV_NAMESPACE_ID", "--kv-namespace-id")
    """Workers KV namespace that gets the file index and the counter."""
    kv_jurisdiction: Jurisdiction | None = setting(
        one_of(Jurisdiction), "--kv-jurisdiction", unset="anywhere"
    )
    """Where the KV namespaces are stored that provision creates; it never changes afterwards, and
    a namespace of another jurisdiction is refused."""
    metadata_indexes: tuple[str, ...] = setting(rules.METADATA_INDEXES, default=("file_id:string",))
    """Metadata indexes, created before the first upload."""

    @property
    def metadata_index_types(self) -> dict[str, str]:
        """Property name -> type."""
        return dict(entry.split(":", 1) for entry in self.metadata_indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """How a point becomes a vector."""

    id_template: str = setting(
        rules.ID_TEMPLATE, "--id-template", default="{file_id}_{chunk_index}"
    )
    """Id of a vector, from payload fields; {point_id} is the id in Qdrant."""
    group_key: str = setting(rules.FIELD_OR_NONE, default="file_id")
    """Payload field that names the file; empty: no KV file index."""
    order_key: str = setting(rules.FIELD_OR_NONE, default="chunk_index")
    """Payload field with the chunk's number within its file; empty: unordered."""
    hash_key: str = setting(rules.FIELD_OR_NONE, default="chunk_hash")
    """Payload field with the chunk's SHA-256 in hex; empty: not required."""
    hash_of: str = setting(rules.FIELD_OR_NONE, default="")
    """Payload field with the text that the hash is of; empty: hashes are not checked."""
    hash_mismatch: HashMismatch = setting(one_of(HashMismatch), default="warn")
    """What to do with a point whose hash is not that of its text: count it, or quarantine it."""
    dimensions: int | None = setting(
        number(int, limits.DIMENSIONS_MIN, limits.DIMENSIONS_MAX),
        "Q2V_DIMENSIONS",
        "--dimensions",
        unset="as in the source",
    )
    """Values per vector in the target."""
    reduce: Reduction = setting(one_of(Reduction), "Q2V_REDUCE", "--reduce", default="none")
    """How values are reduced to fewer dimensions: matryoshka keeps the first ones and renormalises,
    which is right only for models trained for it."""
    nulls: Nulls = setting(one_of(Nulls), "--nulls", default="quarantine")
    """What to do with a payload field that is null, which metadata cannot hold: quarantine the
    point, or leave the field out. A null inside an object or a list is not reached: it quarantines
    the point with either value."""
    oversize_metadata: str = setting(
        rules.OVERSIZE_RULE, "--oversize-metadata", default="quarantine"
    )
    """What to do with metadata beyond 10,240 B: quarantine the point, or cut one text field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvSettings:
    """How the KV index is written."""

    key_template: str = setting(rules.KEY_TEMPLATE, default="file:{file_id}")
    """KV key of a file."""
    counter_key: str = setting(rules.KEY, default="_vector_count")
    """KV key of the counter: the number of all vectors in the index after the run, those that were
    there before included."""
    ttl_s: int | None = setting(
        number(int, limits.KV_TTL_S_MIN, limits.KV_TTL_S_MAX, "seconds"), unset="for ever"
    )
    """Life of KV entries; with one, entries vanish while the vectors stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much, how fast, how long."""

    requests_per_5min: int = setting(
        number(int, 1, limits.REQUESTS_PER_WINDOW_MAX, "requests"),
        "--requests-per-5min",
        default=900,
    )
    """Requests to Vectorize and KV together in any five minutes."""
    vectors_per_upload: int = setting(
        number(int, 1, limits.VECTORS_PER_UPLOAD_MAX, "vectors"), default=2_500
    )
    """Vectors in one upload."""
    body_bytes: int = setting(
        number(int, limits.UPLOAD_BYTES_MIN, limits.UPLOAD_BYTES_MAX, "bytes"), default=40_000_000
    )
    """Size of one upload."""
    uploads_in_flight: int = setting(
        number(int, 1, limits.UPLOADS_IN_FLIGHT_MAX, "uploads"), default=2
    )
    """Uploads that are made and sent at once, each by a process of its own."""
    settle_timeout_s: float = setting(number(float, 0, 86_400, "seconds"), default=900.0)
    """How long to wait until accepted vectors are processed; grows with their number."""
    poll_s: float = setting(number(float, 0.01, 300, "seconds"), default=5.0)
    """Pause between two questions about what has been processed."""
    kv_settle_s: float = setting(number(float, 0, 3_600, "seconds"), default=90.0)
    """How long KV may show former values after a write."""
    max_quarantine: int | None = setting(
        number(int, 0, COUNT_MAX, "points"),
        "--max-quarantine",
        unset="0.1 % of the points, at least 10, at most 1,000",
    )
    """Points that may be left out before the run stops."""
    content_full_max: int = setting(
        number(int, 0, COUNT_MAX, "vectors"), "--content-full-max", default=20_000
    )
    """Up to this many vectors reconcile reads every content back, beyond it a sample."""
    content_sample: int = setting(
        number(int, 1, COUNT_MAX, "vectors"), "--content-sample", default=2_400
    )
    """Size of that sample, drawn by a recorded seed."""
    reads_in_flight: int = setting(
        number(int, 1, limits.READS_IN_FLIGHT_MAX, "requests"), default=8
    )
    """Requests that read vectors at once; the request budget holds for all of them together."""
    deadline_s: float | None = setting(
        number(float, 1, limits.DEADLINE_S_MAX, "seconds"), "--deadline-s", unset="none"
    )
    """Stop before the next write after this time; the next run resumes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """How the source is read."""

    page_points: int = setting(number(int, 1, 10_000, "points"), "--page-points", default=1_000)
    """Points asked for in one page."""
    # On two cores, while one reader waits for the disk or the source, the others have them.
    readers: int = setting(number(int, 1, 16, "readers"), "--readers", default=3)
    """Ranges of ids that are read at once from a server."""
    hmac_key: SecretPlace | None = setting(SECRET)
    """Key that manifests and plans are sealed with (HMAC-SHA256) and have to fit, at least 32
    characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Which authorities encrypted connections trust, to Qdrant and to Cloudflare."""

    ca_file: Path | None = setting(path_to("a PEM file"))
    """PEM file of authorities that are trusted besides the usual ones, by every connection. The
    usual ones are those of SSL_CERT_FILE or SSL_CERT_DIR, else the public ones."""


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

    def is_default(self, key: str) -> bool:
        """Whether neither a flag nor the environment nor the file gives it."""
        return key not in self.origins

    def is_typed(self, key: str) -> bool:
        """Whether its flag gives it."""
        return self.origin(key).startswith("flag ")


SECTIONS: dict[str, Any] = {
    declared.name: declared.default_factory
    for declared in fields(Settings)
    if declared.name != "origins"
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
