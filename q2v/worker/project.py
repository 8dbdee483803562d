"""The files of a Worker's project: the package's own, and those with a migration's names. Pure."""

import json
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from migrate.errors import UsageError
from migrate.file_stores.rules import FileStoreRules
from migrate.mapping.field_paths import parse_path
from migrate.wrangler.bindings import VECTOR_BINDING, VECTORIZE, Bindings

COMPATIBILITY_DATE = "2026-11-01"
# Taken over as they are, folder by folder; a test compares this with worker/.
_SOURCES = {
    "kit": "config runtime sandbox serve shim",
    "src/client": "batches check client errors index limits retry rules",
    "src/client/files": "entry file_index removal",
    "src/client/indexes": "indexes opened_index placement repair settle vectors",
    "src": "index",
    "src/verifier": "canonical_json digest index_reader question reading signature unreadable "
    "worker",
    "test/example": "store.test worker",
}
_OPENING = ("src/index.ts", "test/example/worker.ts")  # those that open the store
_KIT_PAGE = "kit/README.md"
_MIGRATION = "src/migration.ts"
_VERIFIER = "verifier.wrangler.jsonc"
_NULLS = {"quarantine": "refuse", "leave_out": "leave_out"}
_TOOLS = (  # those of the package that the project is built and tested with
    "@cloudflare/workers-types",
    "@types/node",
    "esbuild",
    "typescript",
    "vite",
    "vitest",
    "workerd",
    "wrangler",
)
_README = """\
# {name}

Made by `q2v worker init`. `src/client` and `src/verifier` come from q2v: a newer q2v writes them
again into a new folder.

| | |
|---|---|
| `src/migration.ts` | the names of this migration, and `openStore` |
| `src/index.ts` | the Worker: put your handlers here |
| `src/client/` | `VectorizeClient`, the store |
| `src/verifier/` | another Worker, which only reads: see docs/verifier.md of q2v |
| `kit/`, `test/` | tests in real workerd in front of `q2v sandbox` |

```
npm install
npm test          # needs q2v with its extra `rehearsal` in the PATH, or in the variable Q2V
npx wrangler deploy --dry-run
```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProject:
    """What a Worker of this migration is bound to, and the rules that filled its index."""

    bindings: Bindings
    rules: FileStoreRules

    def files(self) -> dict[str, bytes]:
        """Path in the project -> content. Raises UsageError for rules that the store has not."""
        _check(self.rules)
        name = self._name()
        found = dict(_package_files())
        if self.rules.mapping.namespace:
            found |= {place: _for_tenants(found[place]) for place in _OPENING}
        found |= {
            _MIGRATION: self.migration().encode(),
            "wrangler.jsonc": self._wrangler().encode(),
            _VERIFIER: _verifier(self.bindings),
            "package.json": _package(name).encode(),
            "tsconfig.json": _resource("tsconfig.json"),
            "vitest.config.ts": _resource("vitest.config.ts"),
            "README.md": _README.format(name=name).encode(),
        }
        return dict(sorted(found.items()))

    def migration(self) -> str:
        """The TypeScript module with the names of the migration."""
        kv, bound = self.bindings.kv_binding, self.bindings.vector_bindings()
        members = "".join(f"  {name}: {json.dumps(value)},\n" for name, value in self._rules())
        of_several = bool(self.bindings.shards)
        namespace = self.rules.mapping.namespace
        opener = _TENANTS_OPENER if namespace else _OPENER
        return (_MODULE + (_SEVERAL if of_several else "") + opener).format(
            members="".join(f"  {name}: Vectorize;\n" for name in bound.values()),
            indexes="".join(f"    {name}: {json.dumps(index)},\n" for index, name in bound.items()),
            record="".join(
                f"    {json.dumps(index)}: env.{one},\n" for index, one in bound.items()
            ),
            vector="indexesOf(env)" if of_several else f"env.{self.bindings.vector_binding}",
            kv=kv,
            kv_text=json.dumps(kv),
            rules=members,
            namespace=namespace,
        )

    def _name(self) -> str:
        """For the Worker and the package: the first index names a collection over several."""
        return next(iter(self.bindings.vector_bindings()))

    def _rules(self) -> Iterator[tuple[str, object]]:
        mapping, writes = self.rules.mapping, self.rules.writes
        yield "dimensions", self.rules.dimensions
        yield "metric", self.rules.metric
        yield "groupKey", mapping.group_key
        yield "orderKey", mapping.order_key
        yield "hashKey", mapping.hash_key
        yield "idTemplate", mapping.id_template
        yield "keyTemplate", mapping.key_template
        yield "counterKey", writes.counter_key
        yield "nulls", _NULLS[mapping.nulls]
        if writes.ttl_s is not None:
            yield "ttlSeconds", writes.ttl_s

    def _wrangler(self) -> str:
        return _configuration(f"{self._name()}-sync", "src/index.ts", self.bindings.lists())


def notes(rules: FileStoreRules) -> list[str]:
    """Rules of the move that the store in a Worker does not follow, in words."""
    found = []
    if rules.mapping.truncate_field is not None:
        found.append(
            f"metadata that is too large is refused by the Worker; the move cuts the field "
            f"'{rules.mapping.truncate_field}'"
        )
    if rules.mapping.transforms:
        found.append(
            "the Worker does not apply [[mapping.transform]]: write metadata in the form that it "
            "leaves, and correct the field names in src/migration.ts if it moves them"
        )
    if rules.mapping.namespace:
        found.append(
            "the Worker does not compare the namespace that openStore gets with "
            f"'{rules.mapping.namespace}': pass the one of the file's tenant"
        )
    if rules.mapping.hash_of:
        found.append(
            f"the Worker does not compare '{rules.mapping.hash_key}' with the text in "
            f"'{rules.mapping.hash_of}'"
        )
    return found


def _check(rules: FileStoreRules) -> None:
    """Raises UsageError for fields that do not lie at the top of the metadata as texts."""
    mapping = rules.mapping
    named = {
        "mapping.group_key": mapping.group_key,
        "mapping.order_key": mapping.order_key,
        "mapping.hash_key": mapping.hash_key,
    }
    for setting, text in named.items():
        if text and parse_path(text) != (text,):
            raise UsageError(
                f'{setting}: found "{text}", the store of a Worker takes a field at the top of the '
                "metadata",
                remedy="write the Worker over the fields of your own; docs/worker.md says how "
                "entries and counter are kept",
            )
    if mapping.group_type != "text":
        raise UsageError(
            f'mapping.group_type: found "{mapping.group_type}", the store of a Worker takes files '
            "whose id is a text",
            remedy="write the Worker over the fields of your own; docs/worker.md says how entries "
            "and counter are kept",
        )


def _package_files() -> Iterator[tuple[str, bytes]]:
    places = [f"{folder}/{name}.ts" for folder in _SOURCES for name in _SOURCES[folder].split()]
    for place in (*places, _KIT_PAGE):
        yield place, _resource(place)


def _resource(name: str) -> bytes:
    content = pkgutil.get_data("q2v.worker", name)
    assert content is not None, f"{name} is not installed"
    return content


def _for_tenants(source: bytes) -> bytes:
    """A source file of the package that opens the store of one tenant."""
    opened = source.replace(b"openStore(env)", b'openStore(env, "example")')
    assert opened != source, "a file of _OPENING opens no store"
    return opened


def _configuration(name: str, main: str, members: Mapping[str, object]) -> str:
    head = {"name": name, "main": main, "compatibility_date": COMPATIBILITY_DATE}
    return json.dumps({**head, **members}, indent=2) + "\n"


def _verifier(bindings: Bindings) -> bytes:
    """The package's configuration, bound to each index of the migration."""
    comment, _, members = _resource(_VERIFIER).partition(b"\n")
    assert comment.startswith(b"//"), f"{_VERIFIER} has no line that says to replace the index"
    document: dict[str, Any] = json.loads(members)
    own = replace(bindings, vector_binding=VECTOR_BINDING)
    document[VECTORIZE] = own.lists()[VECTORIZE]
    document["vars"] = {"VECTORIZE_INDEXES": own.vector_bindings()}
    return (json.dumps(document, indent=2) + "\n").encode()


def _package(name: str) -> str:
    whole: dict[str, Any] = json.loads(_resource("package.json"))
    tools = whole["devDependencies"]
    document = {
        "name": f"{name}-sync",
        "private": True,
        "type": "module",
        "scripts": {
            "test": "tsc && vitest run",
            "deploy": "wrangler deploy",
        },
        "devDependencies": {name: tools[name] for name in _TOOLS},
    }
    return json.dumps(document, indent=2) + "\n"


_MODULE = """\
/** The names of the migration, as `q2v worker init` writes them. */

import {{ type FileStoreRules, VectorizeClient }} from "./client";

/** What the Worker finds in `env`. */
export interface Env {{
{members}  {kv}: KVNamespace;
}}

/** The bindings in wrangler's file: those of Vectorize with their index, and that of KV. */
export const BINDINGS = {{
  vectorize: {{
{indexes}  }},
  kv: {kv_text},
}} as const;

/** The rules that filled the index. Ask the embedding model for the same number of `dimensions`. */
export const RULES: FileStoreRules = {{
{rules}}};

"""
_SEVERAL = """\
/** Each index of the collection with its binding. The names decide where a new file goes. */
function indexesOf(env: Env): Record<string, Vectorize> {{
  return {{
{record}  }};
}}

"""
_OPENER = """\
let store: VectorizeClient | undefined;

/** The store of this isolate. It remembers what it wrote, which KV shows a minute later. */
export function openStore(env: Env): VectorizeClient {{
  store ??= new VectorizeClient({vector}, env.{kv}, RULES);
  return store;
}}
"""
_TENANTS_OPENER = """\
const stores = new Map<string, VectorizeClient>();

/**
 * The store of one tenant in this isolate. `namespace` is what {namespace} is for its vectors. The
 * counter is that of the whole index, whatever the tenant.
 */
export function openStore(env: Env, namespace: string): VectorizeClient {{
  const rules = {{ ...RULES, namespace }};
  const store = stores.get(namespace) ?? new VectorizeClient({vector}, env.{kv}, rules);
  stores.set(namespace, store);
  return store;
}}
"""
