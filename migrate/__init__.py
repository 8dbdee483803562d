"""The library: move a Qdrant collection into Vectorize and Workers KV.

A whole move, as a script. First what it works with. The folder is what `q2v` has as --dir: its lock
keeps other processes out, and one request budget holds for all that use it. The public API of
Cloudflare is at https://api.cloudflare.com/client/v4.

>>> import os, random
>>> from contextlib import ExitStack, closing
>>> from pathlib import Path
>>> import migrate, reconcile
>>> opened = ExitStack()
>>> folder = migrate.LocalFolder(Path("snapshots"))
>>> lock = opened.enter_context(migrate.FolderLock(folder))
>>> clock = migrate.SystemClock()
>>> runtime = migrate.Runtime(clock=clock, progress=migrate.NoProgress())
>>> source = migrate.open_server_source(
...     os.environ["QDRANT_URL"],
...     collection="chunks",
...     api_key=os.environ["QDRANT_API_KEY"],
...     transport="auto",
...     clock=clock,
... )
>>> source = opened.enter_context(closing(source))
>>> account = migrate.Account(
...     migrate.parse_base_url(os.environ["CLOUDFLARE_API_BASE_URL"]),
...     os.environ["CLOUDFLARE_ACCOUNT_ID"],
...     os.environ["CLOUDFLARE_API_TOKEN"],
... )
>>> budget = migrate.RequestBudget(folder.path / ".budget" / "requests", clock=clock)
>>> http = migrate.CloudflareHttp(account, budget=budget, clock=clock, jitter=random.random)
>>> http = opened.enter_context(closing(http))
>>> vectors = migrate.VectorizeTarget(http, "chunks-2026-11")

Then the rules: what a point becomes, how it is written, how long to wait for the target. The values
are the defaults of `q2v`, which docs/settings.md explains.

>>> mapping = migrate.MappingRules(
...     id_template="{file_id}_{chunk_index}",
...     group_key="file_id",
...     order_key="chunk_index",
...     hash_key="chunk_hash",
...     key_template="file:{file_id}",
...     nulls="quarantine",
...     truncate_field=None,
... )
>>> writes = migrate.WriteRules(
...     vectors_per_upload=2500,
...     body_bytes=40_000_000,
...     counter_key="_vector_count",
...     ttl_s=None,
... )
>>> rules = migrate.PlanRules(mapping=mapping, writes=writes)
>>> settle = migrate.SettleRules(timeout_s=900, poll_s=5)

Then the move. The same calls continue one that was cut off.

>>> taken = migrate.take_snapshot(source, folder, migrate.SnapshotOptions(), runtime)
>>> snapshot = migrate.Snapshot(folder.child(taken.snapshot_id))
>>> namespaces = migrate.WorkersKvNamespaces(http)
>>> values = rules.choose_values(snapshot.manifest.vectors)
>>> wanted = migrate.ProvisionRules(kv_title="chunks-2026-11-files", settle=settle)
>>> ready = migrate.provision(vectors, namespaces, values, wanted, runtime)
>>> stores = migrate.Target(vectors, migrate.WorkersKvTarget(http, ready.kv_namespace_id))
>>> run = migrate.begin_run(snapshot, stores, rules, runtime)
>>> moved = migrate.migrate(run, stores, migrate.WriteOptions(settle=settle), runtime)
>>> moved.acknowledged, moved.kv_entries, moved.counter
(20, 5, 20)

Then the comparison of all stores, and the way back.

>>> reading = reconcile.ReconcileRules(
...     content_full_max=20_000,
...     content_sample=2_400,
...     seed=1,
...     pause_s=10,
...     kv_settle_s=90,
...     page_points=1000,
...     requests_per_5min=900,
... )
>>> reconcile.compare(run, source, stores, reading, runtime).verdict
'equal'
>>> manifest = reconcile.build_manifest(run, requests_per_5min=900)
>>> undo = reconcile.UndoRules(settle=settle, pause_s=10, kv_settle_s=90)
>>> reconcile.roll_back(run, manifest, stores, undo, runtime).vectors_deleted
20
>>> run.close()
>>> opened.close()

Errors are subclasses of `MigrationError`; each carries a remedy and an exit code. One package a
subject; imports only point down, as the contract in pyproject.toml says.
"""

import os
from typing import TYPE_CHECKING

from migrate.lazy_names import load_when_used

# Read when pyarrow is loaded. Its own pool caches freed memory per thread: 60 MB more for two
# readers of a snapshot, and no time less.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

if TYPE_CHECKING:
    from migrate.archive.verify import VerifiedArchive as VerifiedArchive
    from migrate.archive.verify import verify_archive as verify_archive
    from migrate.archive.write import ArchiveOptions as ArchiveOptions
    from migrate.archive.write import ArchiveReport as ArchiveReport
    from migrate.archive.write import write_archive as write_archive
    from migrate.begin import begin_run as begin_run
    from migrate.begin import make_plan as make_plan
    from migrate.clock import SystemClock as SystemClock
    from migrate.cloudflare.budget.budget import RequestBudget as RequestBudget
    from migrate.cloudflare.client.base_url import parse_base_url as parse_base_url
    from migrate.cloudflare.client.client import Account as Account
    from migrate.cloudflare.client.client import CloudflareHttp as CloudflareHttp
    from migrate.cloudflare.kv import WorkersKvTarget as WorkersKvTarget
    from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces as WorkersKvNamespaces
    from migrate.cloudflare.vectorize import VectorizeTarget as VectorizeTarget
    from migrate.errors import MigrationError as MigrationError
    from migrate.file_stores.contract import CollectionInfo as CollectionInfo
    from migrate.file_stores.contract import FileChunk as FileChunk
    from migrate.file_stores.contract import FileStore as FileStore
    from migrate.file_stores.contract import FileVector as FileVector
    from migrate.file_stores.qdrant_store import QdrantFileStore as QdrantFileStore
    from migrate.file_stores.rules import FileStoreRules as FileStoreRules
    from migrate.file_stores.sharded_store import ShardedFileStore as ShardedFileStore
    from migrate.file_stores.vectorize_store import VectorizeFileStore as VectorizeFileStore
    from migrate.mapping.rules import MappingRules as MappingRules
    from migrate.mapping.rules import WriteRules as WriteRules
    from migrate.migrate import WriteOptions as WriteOptions
    from migrate.migrate import migrate as migrate
    from migrate.plan.record import RunPlan as RunPlan
    from migrate.plan.rules import PlanRules as PlanRules
    from migrate.ports import Target as Target
    from migrate.provision import ProvisionRules as ProvisionRules
    from migrate.provision import provision as provision
    from migrate.qdrant.server import open_server_source as open_server_source
    from migrate.qdrant.source import ServerOptions as ServerOptions
    from migrate.restore.folder import FolderTarget as FolderTarget
    from migrate.restore.restore import RestoreOptions as RestoreOptions
    from migrate.restore.restore import RestoreReport as RestoreReport
    from migrate.restore.restore import restore_snapshot as restore_snapshot
    from migrate.restore.server import ServerTarget as ServerTarget
    from migrate.run.folder import RunFolder as RunFolder
    from migrate.runtime import NoProgress as NoProgress
    from migrate.runtime import Runtime as Runtime
    from migrate.snapshot.folder import Snapshot as Snapshot
    from migrate.snapshot.take import SnapshotOptions as SnapshotOptions
    from migrate.snapshot.take import take_snapshot as take_snapshot
    from migrate.storage.folder_lock import FolderLock as FolderLock
    from migrate.storage.local_folder import LocalFolder as LocalFolder
    from migrate.upload.report import MigrateReport as MigrateReport
    from migrate.upload.settle import SettleRules as SettleRules

PUBLIC_NAMES = {
    "LocalFolder": "migrate.storage.local_folder",
    "FolderLock": "migrate.storage.folder_lock",
    "SystemClock": "migrate.clock",
    "Runtime": "migrate.runtime",
    "NoProgress": "migrate.runtime",
    "open_server_source": "migrate.qdrant.server",
    "ServerOptions": "migrate.qdrant.source",
    "Account": "migrate.cloudflare.client.client",
    "parse_base_url": "migrate.cloudflare.client.base_url",
    "RequestBudget": "migrate.cloudflare.budget.budget",
    "CloudflareHttp": "migrate.cloudflare.client.client",
    "VectorizeTarget": "migrate.cloudflare.vectorize",
    "WorkersKvTarget": "migrate.cloudflare.kv",
    "WorkersKvNamespaces": "migrate.cloudflare.kv_namespaces",
    "Target": "migrate.ports",
    "take_snapshot": "migrate.snapshot.take",
    "SnapshotOptions": "migrate.snapshot.take",
    "Snapshot": "migrate.snapshot.folder",
    "restore_snapshot": "migrate.restore.restore",
    "RestoreOptions": "migrate.restore.restore",
    "RestoreReport": "migrate.restore.restore",
    "ServerTarget": "migrate.restore.server",
    "FolderTarget": "migrate.restore.folder",
    "PlanRules": "migrate.plan.rules",
    "MappingRules": "migrate.mapping.rules",
    "WriteRules": "migrate.mapping.rules",
    "provision": "migrate.provision",
    "ProvisionRules": "migrate.provision",
    "begin_run": "migrate.begin",
    "make_plan": "migrate.begin",
    "RunPlan": "migrate.plan.record",
    "RunFolder": "migrate.run.folder",
    "migrate": "migrate.migrate",
    "WriteOptions": "migrate.migrate",
    "SettleRules": "migrate.upload.settle",
    "MigrateReport": "migrate.upload.report",
    "FileStore": "migrate.file_stores.contract",
    "FileVector": "migrate.file_stores.contract",
    "FileChunk": "migrate.file_stores.contract",
    "CollectionInfo": "migrate.file_stores.contract",
    "FileStoreRules": "migrate.file_stores.rules",
    "QdrantFileStore": "migrate.file_stores.qdrant_store",
    "ShardedFileStore": "migrate.file_stores.sharded_store",
    "VectorizeFileStore": "migrate.file_stores.vectorize_store",
    "write_archive": "migrate.archive.write",
    "ArchiveOptions": "migrate.archive.write",
    "ArchiveReport": "migrate.archive.write",
    "verify_archive": "migrate.archive.verify",
    "VerifiedArchive": "migrate.archive.verify",
    "MigrationError": "migrate.errors",
}
load_when_used(__name__, PUBLIC_NAMES)
