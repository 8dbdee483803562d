"""The rows about a target: budget, token, rights, index, metadata indexes and KV namespace."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from migrate.check.rows import Rows
from migrate.cloudflare.access import probe_access, verify_token
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.credentials import target_token_notes
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.kv_namespaces import KvNamespace, WorkersKvNamespaces, read_kv_namespace
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import BudgetExhaustedError
from migrate.mapping.kv_entries import index_of_key
from migrate.mapping.values import ValueRules
from migrate.model.limits import KV_LIST_KEYS_MAX
from migrate.model.records import VectorIndex
from migrate.plan.metadata_indexes import missing_metadata_indexes
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import KEPT_NAME, check_index
from migrate.ports import Clock
from migrate.words import counted

OF_A_TARGET = (
    "requests",
    "token",
    "rights",
    "clock",
    "index",
    "metadata indexes",
    "KV namespace",
)
# A command that waits for its turn shows why. A check is to end in seconds.
BUDGET_WAIT_S_MAX = 5.0
REQUESTS = 12  # of a check, at most
# A clock that is further off breaks tokens and certificates long before it breaks an expiry.
CLOCK_S_MAX = 30.0
_PROVISION = "`q2v provision` creates it"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNames:
    """What the settings name of the target."""

    vector_index: str | None
    kv_namespace_id: str | None
    token: str  # for what its own text shows; it is never shown


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAccount:
    """The account, reached over one client."""

    http: CloudflareHttp
    budget: RequestBudget
    clock: Clock


def check_target(
    rows: Rows,
    account: TargetAccount,
    names: TargetNames,
    rules: PlanRules,
    values: ValueRules | None,
) -> None:
    """Add the rows of a target. `values`: the shape that the index needs; None: not known.

    Writes nothing: the rights to write are asked by requests that change nothing.
    """
    if not rows.look("requests", lambda: _check_budget(rows, account.budget)):
        rows.skip(OF_A_TARGET[1:], "no request may be sent now")
        return
    state = rows.look("token", lambda: verify_token(account.http))
    if state is None:
        rows.skip(OF_A_TARGET[2:], "the token did not open the account")
        return
    notes = target_token_notes(names.token, state.expires_on)
    rows.note("token", f"active, expires {state.expires_on}", notes)
    _check_rights(rows, account.http, names)
    _check_clock(rows, account)
    _check_index(rows, account, names, rules, values)
    _check_namespace(rows, account.http, names, rules)


def _check_budget(rows: Rows, budget: RequestBudget) -> bool:
    wait_s = budget.remaining_s(REQUESTS, 0.0)
    if wait_s > BUDGET_WAIT_S_MAX:
        raise BudgetExhaustedError(
            f"{REQUESTS} requests may be sent in {wait_s:,.0f} s only: those of the last five "
            "minutes, of all commands with this --dir, have used up the budget",
            remedy="wait, then run the same command again",
        )
    rows.ok("requests", "the account's budget of five minutes has room")
    return True


def _check_rights(rows: Rows, http: CloudflareHttp, names: TargetNames) -> None:
    """Whether the token may read and write both stores, as far as there are names to ask about."""

    def ask() -> bool:
        probe_access(
            http, index_name=names.vector_index, namespace_id=names.kv_namespace_id, write=True
        )
        return True

    if not rows.look("rights", ask):
        return
    vectors = "" if names.vector_index is None else "Vectorize: Edit"
    if names.kv_namespace_id is None:
        later = "Workers KV Storage: Edit is asked once target.kv_namespace_id is set"
        rows.ok("rights", "; ".join(filter(None, (vectors, later))))
    else:
        rows.ok("rights", " and ".join(filter(None, (vectors, "Workers KV Storage: Edit"))))


def _check_clock(rows: Rows, account: TargetAccount) -> None:
    service_s = account.http.service_wall_s()
    if service_s is None:
        rows.skip(["clock"], "no answer of the target says what time it is")
        return
    off_s = account.clock.wall_s() - service_s
    if abs(off_s) <= CLOCK_S_MAX:
        rows.ok("clock", f"within {CLOCK_S_MAX:.0f} s of the target's")
        return
    rows.warn(
        "clock",
        f"this machine is {abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} the target",
        "set the clock of this machine: stamps and ages in the files come from it",
    )


def _check_index(
    rows: Rows,
    account: TargetAccount,
    names: TargetNames,
    rules: PlanRules,
    values: ValueRules | None,
) -> None:
    if names.vector_index is None:
        why = "target.vector_index names none"
        rows.warn("index", why, "set target.vector_index; `q2v provision` creates the index")
        rows.skip(["metadata indexes"], why)
        return
    vectors = VectorizeTarget(account.http, names.vector_index)

    def read() -> tuple[VectorIndex | None, int]:
        index = vectors.read_index()
        if index is not None and values is not None:
            check_index(index, values, keeps_name=rules.mapping.shards is not None)
        return index, 0 if index is None else vectors.count_vectors()

    found = rows.look("index", read)
    index, held = found or (None, 0)
    if index is None:
        why = f"'{names.vector_index}' does not exist yet"
        if found is not None:
            rows.warn("index", why, _PROVISION)
        rows.skip(["metadata indexes"], "there is no index that fits")
        return
    shape = f"'{index.name}': {index.dimensions:,} dimensions, {index.metric}"
    if held:
        rows.warn(
            "index",
            f"{shape}; holds {counted(held, 'vector')} already",
            f"a run of this --dir finds its own again; for a first one {_way_to_empty(rules)}, or "
            "pass --into-non-empty to `q2v migrate`",
        )
    else:
        rows.ok("index", f"{shape}, empty")
    _check_metadata_indexes(rows, account, vectors, rules, holds_vectors=bool(held))


def _way_to_empty(rules: PlanRules) -> str:
    """How an empty vector index is had."""
    if rules.mapping.shards is None:
        return "take another index name"
    return f"`q2v reset-target` empties it ({KEPT_NAME})"


def _check_metadata_indexes(
    rows: Rows,
    account: TargetAccount,
    vectors: VectorizeTarget,
    rules: PlanRules,
    *,
    holds_vectors: bool,
) -> None:
    missing = rows.look(
        "metadata indexes",
        lambda: missing_metadata_indexes(
            vectors, rules.metadata_indexes, pause_s=rules.poll_s, clock=account.clock
        ),
    )
    if missing is None:
        return
    declared = ", ".join(f"{name} ({kind})" for name, kind in rules.metadata_indexes.items())
    if missing:
        way = "`q2v provision --into-non-empty`" if holds_vectors else "`q2v provision`"
        rows.warn("metadata indexes", f"missing: {', '.join(missing)}", f"{way} creates them")
    else:
        rows.ok("metadata indexes", declared or "none declared")


def _check_namespace(
    rows: Rows, http: CloudflareHttp, names: TargetNames, rules: PlanRules
) -> None:
    if names.kv_namespace_id is None:
        rows.warn(
            "KV namespace",
            "target.kv_namespace_id is not set",
            "`q2v provision` creates the namespace and prints its id",
        )
        return
    namespace_id = names.kv_namespace_id

    def read() -> tuple[KvNamespace, str]:
        found = read_kv_namespace(WorkersKvNamespaces(http), namespace_id, rules.kv_jurisdiction)
        # Listing is the only read after which KV does not cache an absence.
        listed = WorkersKvTarget(http, namespace_id).list_keys("")
        keys = islice((entry.key for entry in listed), KV_LIST_KEYS_MAX)  # one page
        own = (one for one in keys if index_of_key(one, rules.mapping, rules.writes) is None)
        return found, _first(own)

    found = rows.look("KV namespace", read)
    if found is None:
        return
    namespace, key = found
    if key:
        rows.warn(
            "KV namespace",
            f"{namespace.in_words()}; holds keys already, the first is '{key}'",
            "a run of this --dir finds its own again; else take another namespace",
        )
    else:
        state = (
            "empty" if rules.mapping.shards is None else "no keys of this index on its first page"
        )
        rows.ok("KV namespace", f"{namespace.in_words()}, {state}")


def _first(keys: Iterator[str]) -> str:
    return next(keys, "")
