"""Every Vectorize, KV and token method of the Python SDK; run by the interpreter that has it."""

import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cloudflare import Cloudflare

from tests.clients.outcome import Outcomes

ACCOUNT = os.environ["CLOUDFLARE_ACCOUNT_ID"]
NDJSON = {"content-type": "application/x-ndjson"}
CONFIG = {"dimensions": 32, "metric": "euclidean"}


def check_vectorize(client: Any, outcomes: Outcomes) -> None:
    """`client.vectorize`."""
    works, refused = outcomes.works, outcomes.refused
    indexes = client.vectorize.indexes
    on = {"account_id": ACCOUNT}
    of = ("docs",)
    lines = "\n".join(
        json.dumps({"id": f"v{n}", "values": [n + 1.5] * 32, "metadata": {"f": f"f{n % 2}"}})
        for n in range(25)
    ).encode()
    works("indexes.create", lambda: indexes.create(name="docs", config=CONFIG, **on))
    refused(
        "indexes.create, again", lambda: indexes.create(name="docs", config=CONFIG, **on), "3002"
    )
    refused(
        "indexes.create, 31 dimensions",
        lambda: indexes.create(name="x", config={"dimensions": 31, "metric": "cosine"}, **on),
        "invalid_config",
    )
    works("indexes.list", lambda: list(indexes.list(**on)), lambda all_: len(all_) == 1)
    works("indexes.get", lambda: indexes.get(*of, **on), lambda one: one.config.dimensions == 32)
    refused("indexes.get, absent", lambda: indexes.get("absent", **on), "3000")
    works(
        "metadata_index.create",
        lambda: indexes.metadata_index.create(*of, index_type="string", property_name="f", **on),
    )
    works(
        "metadata_index.list",
        lambda: indexes.metadata_index.list(*of, **on).metadata_indexes,
        lambda found: found[0].property_name == "f",
    )
    works(
        "indexes.insert, with the content type set",
        lambda: indexes.insert(*of, body=lines, extra_headers=NDJSON, **on).mutation_id,
        bool,
    )
    works(
        "indexes.upsert, with the content type set",
        lambda: (
            indexes.upsert(
                *of, body=lines, unparsable_behavior="error", extra_headers=NDJSON, **on
            ).mutation_id
        ),
        bool,
    )
    refused("indexes.upsert, as JSON", lambda: indexes.upsert(*of, body=lines, **on), "1005")
    works("indexes.info", lambda: indexes.info(*of, **on).vector_count, lambda count: count == 25)
    works(
        "indexes.list_vectors",
        lambda: indexes.list_vectors(*of, count=10, **on),
        lambda page: page.total_count == 25 and page.next_cursor and len(page.vectors) == 10,
    )
    works(
        "indexes.get_by_ids",
        lambda: indexes.get_by_ids(*of, ids=["v1", "absent"], **on),
        lambda found: found[0]["values"][0] == 2.5,
    )
    refused(
        "indexes.get_by_ids, 21",
        lambda: indexes.get_by_ids(*of, ids=[str(n) for n in range(21)], **on),
        "40007",
    )
    works(
        "indexes.query",
        lambda: indexes.query(
            *of, vector=[2.5] * 32, top_k=3, filter={"f": "f1"}, return_metadata="all", **on
        ),
        lambda found: found.count == 3 and found.matches[0].id == "v1",
    )
    refused("indexes.query, narrow", lambda: indexes.query(*of, vector=[1.0], **on), "40006")
    works(
        "indexes.delete_by_ids",
        lambda: indexes.delete_by_ids(*of, ids=["v1"], **on).mutation_id,
        bool,
    )
    works(
        "metadata_index.delete",
        lambda: indexes.metadata_index.delete(*of, property_name="f", **on).mutation_id,
        bool,
    )
    works("indexes.delete", lambda: indexes.delete(*of, **on))
    refused("indexes.info, deleted", lambda: indexes.info(*of, **on), "3005")


def check_kv(client: Any, outcomes: Outcomes) -> None:
    """`client.kv`."""
    works, refused = outcomes.works, outcomes.refused
    namespaces = client.kv.namespaces
    on = {"account_id": ACCOUNT}
    created: Any = works("namespaces.create", lambda: namespaces.create(title="sdk", **on))
    refused("namespaces.create, again", lambda: namespaces.create(title="sdk", **on), "10014")
    of = (created.id,)
    works("namespaces.list", lambda: list(namespaces.list(**on)), lambda all_: len(all_) == 1)
    works("namespaces.get", lambda: namespaces.get(*of, **on).title, lambda title: title == "sdk")
    works("namespaces.update", lambda: namespaces.update(*of, title="other", **on))
    _check_bulk("namespaces", namespaces, of[0], outcomes)
    _check_bulk("keys", namespaces.keys, of[0], outcomes)
    works(
        "keys.list, three pages",
        lambda: [key.name for key in namespaces.keys.list(*of, limit=10, prefix="file:", **on)],
        lambda names: len(names) == 24,
    )
    refused("keys.list, limit 9", lambda: namespaces.keys.list(*of, limit=9, **on), "limit")
    key = "a/b: %41é?#+"
    works(
        "values.update",
        lambda: namespaces.values.update(
            key, namespace_id=of[0], value=b"\x00\xff", metadata='{"m": 1}', expiration_ttl=60, **on
        ),
    )
    works(
        "values.update, a file",
        lambda: namespaces.values.update("f", namespace_id=of[0], value=io.BytesIO(b"x"), **on),
    )
    works(
        "values.get",
        lambda: namespaces.values.get(key, namespace_id=of[0], **on).read(),
        lambda value: value == b"\x00\xff",
    )
    works(
        "metadata.get",
        lambda: namespaces.metadata.get(key, namespace_id=of[0], **on),
        lambda metadata: metadata in ({"m": 1}, '{"m": 1}'),
    )
    works("values.delete", lambda: namespaces.values.delete(key, namespace_id=of[0], **on))
    refused(
        "values.get, absent",
        lambda: namespaces.values.get(key, namespace_id=of[0], **on),
        "10009",
    )
    works("namespaces.delete", lambda: namespaces.delete(*of, **on))
    refused("keys.list, deleted", lambda: namespaces.keys.list(*of, **on), "10013")


def _check_bulk(name: str, resource: Any, namespace_id: str, outcomes: Outcomes) -> None:
    """The bulk methods, which the SDK offers under two names."""
    pairs = [{"key": f"file:{n}/é", "value": f'["{n}"]', "metadata": {"n": n}} for n in range(25)]
    keys, of = ["file:1/é", "absent"], {"namespace_id": namespace_id, "account_id": ACCOUNT}
    outcomes.works(
        f"{name}.bulk_update",
        lambda: resource.bulk_update(body=pairs, **of),
        lambda done: done.successful_key_count == 25,
    )
    outcomes.works(
        f"{name}.bulk_get",
        lambda: resource.bulk_get(keys=keys, **of),
        lambda found: found.values["file:1/é"] == '["1"]' and found.values["absent"] is None,
    )
    outcomes.works(
        f"{name}.bulk_get, with metadata",
        lambda: resource.bulk_get(keys=keys, with_metadata=True, **of),
    )
    outcomes.works(
        f"{name}.bulk_delete",
        lambda: resource.bulk_delete(body=["file:9/é"], **of),
        lambda done: done.successful_key_count == 1,
    )


def check_tokens(client: Any, outcomes: Outcomes) -> None:
    """Both ways to verify, and what a wrong token or account meets."""

    def active(token: Any) -> bool:
        return bool(token.status == "active")

    outcomes.works("user.tokens.verify", client.user.tokens.verify, active)
    verify = client.accounts.tokens.verify
    outcomes.works("accounts.tokens.verify", lambda: verify(account_id=ACCOUNT), active)
    stranger = client.with_options(api_token="unknown")
    outcomes.refused("unknown token", stranger.user.tokens.verify, "10000")
    outcomes.refused(
        "other account", lambda: client.vectorize.indexes.list(account_id="0" * 32), "403"
    )


def main() -> None:
    """Print one line per method; exit 1 if one failed."""
    warnings.simplefilter("ignore", DeprecationWarning)  # the older names are tried on purpose
    outcomes = Outcomes("python")
    client = Cloudflare(
        api_token=os.environ["CLOUDFLARE_API_TOKEN"],
        base_url=os.environ["CLOUDFLARE_API_BASE_URL"],
        max_retries=0,
    )
    check_vectorize(client, outcomes)
    check_kv(client, outcomes)
    check_tokens(client, outcomes)
    sys.exit(bool(outcomes.failed))


if __name__ == "__main__":
    main()
