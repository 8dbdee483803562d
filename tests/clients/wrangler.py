"""Every Vectorize and KV command of wrangler."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.clients.outcome import Outcomes
from tests.harness.running.programs import run_program

DIMENSIONS = 32


class Wrangler:
    """Runs the command line tool in a folder of its own."""

    def __init__(self, program: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._program = program
        self._folder = folder
        self._environment = dict(environment)

    def __call__(self, *arguments: str) -> Callable[[], str]:
        """A command to run: gives its output, raises RuntimeError with it on failure."""

        def run() -> str:
            done = run_program(
                self._program,
                *arguments,
                cwd=self._folder,
                env=self._environment,
                timeout_s=120,
            )
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)
            return done.stdout

        return run


def check_vectorize(wrangler: Wrangler, folder: Path, outcomes: Outcomes) -> None:
    """`wrangler vectorize`: all its commands, and refusals of the service."""
    lines = [
        json.dumps(
            {
                "id": f"v{ordinal}",
                "values": [float(ordinal + 1)] + [0.5] * (DIMENSIONS - 1),
                "metadata": {"file_id": f"f{ordinal % 2}", "n": ordinal},
                "namespace": "docs",
            }
        )
        for ordinal in range(30)
    ]
    good, bad = folder / "vectors.ndjson", folder / "narrow.ndjson"
    good.write_text("\n".join(lines))
    bad.write_text(json.dumps({"id": "v", "values": [1.0]}))

    def vectorize(*arguments: str) -> Callable[[], str]:
        return wrangler("vectorize", *arguments)

    works, refused = outcomes.works, outcomes.refused
    create = ("create", "docs", f"--dimensions={DIMENSIONS}", "--metric=cosine")
    works("vectorize create", vectorize(*create, "--description=d", "--json"), _has("docs"))
    refused("vectorize create, again", vectorize(*create), "duplicate_name")
    refused(
        "vectorize create, 1537 dimensions",
        vectorize("create", "wide", "--dimensions=1537", "--metric=cosine"),
        "invalid_config",
    )
    works(
        "vectorize create --preset",
        vectorize("create", "preset", "--preset=@cf/baai/bge-small-en-v1.5"),
    )
    works("vectorize list", vectorize("list", "--json"), _has("preset"))
    works("vectorize get", vectorize("get", "docs", "--json"), _has('"cosine"'))
    refused("vectorize get, absent", vectorize("get", "absent"), "not_found")
    works(
        "vectorize create-metadata-index",
        vectorize("create-metadata-index", "docs", "--property-name=file_id", "--type=string"),
    )
    works(
        "vectorize list-metadata-index",
        vectorize("list-metadata-index", "docs", "--json"),
        _has("file_id"),
    )
    works("vectorize insert", vectorize("insert", "docs", f"--file={good}"), _has("30"))
    works("vectorize upsert", vectorize("upsert", "docs", f"--file={good}"), _has("30"))
    refused("vectorize upsert, narrow", vectorize("upsert", "docs", f"--file={bad}"), "40012")
    works("vectorize info", vectorize("info", "docs", "--json"), _has('"vectorCount": 30'))
    works(
        "vectorize list-vectors",
        vectorize("list-vectors", "docs", "--count=10", "--json"),
        _has('"isTruncated": true'),
    )
    works(
        "vectorize get-vectors", vectorize("get-vectors", "docs", "--ids", "v1", "v2"), _has("v2")
    )
    ids = [f"v{ordinal}" for ordinal in range(21)]
    refused(
        "vectorize get-vectors, 21 ids",
        vectorize("get-vectors", "docs", "--ids", *ids),
        "too many ids",
    )
    query = ("query", "docs", "--vector-id=v1", "--top-k=3", "--return-metadata=all")
    works("vectorize query", vectorize(*query), _has('"count": 3'))
    works(
        "vectorize query --filter",
        vectorize(*query, "--filter", '{"file_id": {"$eq": "f1"}}', "--namespace=docs"),
        _has('"file_id": "f1"'),
    )
    works(
        "vectorize query --vector",
        vectorize("query", "docs", "--return-values", "--vector", *["0.5"] * DIMENSIONS),
        _has('"values"'),
    )
    refused(
        "vectorize query, topK 51 with metadata",
        vectorize("query", "docs", "--vector-id=v1", "--top-k=51", "--return-metadata=all"),
        "",
    )
    works("vectorize delete-vectors", vectorize("delete-vectors", "docs", "--ids", "v1", "v2"))
    works(
        "vectorize delete-metadata-index",
        vectorize("delete-metadata-index", "docs", "--property-name=file_id"),
    )
    works("vectorize delete", vectorize("delete", "docs", "--force"))
    refused("vectorize info, deleted", vectorize("info", "docs"), "deleted")


def check_kv(wrangler: Wrangler, folder: Path, outcomes: Outcomes) -> None:
    """`wrangler kv`: all its commands, and refusals of the service."""
    pairs, keys, many = folder / "pairs.json", folder / "keys.json", folder / "short.json"
    pairs.write_text(
        json.dumps(
            [
                {"key": f"file:{ordinal}/ä", "value": '["a"]', "metadata": {"count": 1}}
                for ordinal in range(12)
            ]
        )
    )
    keys.write_text(json.dumps(["file:1/ä", "file:2/ä", "absent"]))
    many.write_text(json.dumps([{"key": "short", "value": "x", "expiration_ttl": 59}]))
    works, refused = outcomes.works, outcomes.refused

    def kv(*arguments: str) -> Callable[[], str]:
        return wrangler("kv", *arguments)

    works("kv namespace create", kv("namespace", "create", "files"), _has("files"))
    refused("kv namespace create, again", kv("namespace", "create", "files"), "already exists")
    listed = works("kv namespace list", kv("namespace", "list"), _has("files"))
    where = f"--namespace-id={json.loads(str(listed))[0]['id']}"

    def remote(*arguments: str) -> Callable[[], str]:
        return wrangler("kv", *arguments, where, "--remote")

    works(
        "kv namespace rename",
        kv("namespace", "rename", "files", "--new-name=index"),
        _has("index"),
    )
    works(
        "kv key put",
        remote("key", "put", "a/b %41ü", "text", "--ttl=600", '--metadata={"m": 1}'),
    )
    works("kv key get", remote("key", "get", "a/b %41ü", "--text"), _has("text"))
    refused("kv key get, absent", remote("key", "get", "absent", "--text"), "")
    refused("kv key put, ttl 59", remote("key", "put", "k", "v", "--ttl=59"), "")
    works("kv bulk put", remote("bulk", "put", str(pairs)))
    refused("kv bulk put, ttl 59", remote("bulk", "put", str(many)), "60")
    works("kv bulk get", remote("bulk", "get", str(keys)), _has("file:2/ä"))
    works("kv key list", remote("key", "list", "--prefix=file:"), _has("file:11/ä"))
    works("kv key delete", remote("key", "delete", "a/b %41ü"))
    works("kv bulk delete", remote("bulk", "delete", str(keys), "--force"))
    works("kv key list, after", remote("key", "list"), lambda text: "file:1/ä" not in text)
    works("kv namespace delete", kv("namespace", "delete", where, "--skip-confirmation"))
    refused("kv key list, deleted", remote("key", "list"), "not found")


def _has(text: str) -> Callable[[str], bool]:
    return lambda output: text in output
