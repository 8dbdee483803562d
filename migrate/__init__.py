"""The library: move a Qdrant collection into Vectorize and Workers KV.

A whole move takes a `source` (`ports.PointSource`), `stores` (a `Target`), the account's KV
`namespaces`, `rules` (`PlanRules`), a `runtime` (clock and progress) and a `folder` such as
`LocalFolder(Path("snapshots"))`; `settle` says how long to wait for the target. The same calls
continue a move that was cut off. The caller holds the lock of `folder`.

>>> import migrate, reconcile
>>> taken = migrate.take_snapshot(source, folder, migrate.SnapshotOptions(), runtime)
>>> snapshot = migrate.Snapshot(folder.child(taken.snapshot_id))
>>> values = rules.choose_values(snapshot.manifest.vectors)
>>> there = migrate.ProvisionRules(kv_title="files", settle=settle)
>>> ready = migrate.provision(stores.vectors, namespaces, values, there, runtime)
>>> run = migrate.begin_run(snapshot, stores, rules, runtime)
>>> moved = migrate.migrate(run, stores, migrate.WriteOptions(settle=settle), runtime)
>>> moved.acknowledged, moved.kv_entries, moved.counter
(20, 5, 20)
>>> reconcile.compare(run, source, stores, reconcile_rules, runtime).verdict
'equal'
>>> manifest = reconcile.build_manifest(run, requests_per_5min=900)
>>> reconcile.roll_back(run, manifest, stores, undo_rules, runtime).vectors_deleted
20
>>> run.close()

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
    from migrate.begin import begin_run as begin_run
    from migrate.begin import make_plan as make_plan
    from migrate.errors import MigrationError as MigrationError
    from migrate.mapping.payload import MappingRules as MappingRules
    from migrate.mapping.write_rules import WriteRules as WriteRules
    from migrate.migrate import WriteOptions as WriteOptions
    from migrate.migrate import migrate as migrate
    from migrate.plan.record import RunPlan as RunPlan
    from migrate.plan.rules import PlanRules as PlanRules
    from migrate.ports import Target as Target
    from migrate.provision import ProvisionRules as ProvisionRules
    from migrate.provision import provision as provision
    from migrate.run.folder import RunFolder as RunFolder
    from migrate.runtime import Runtime as Runtime
    from migrate.snapshot.folder import Snapshot as Snapshot
    from migrate.snapshot.take import SnapshotOptions as SnapshotOptions
    from migrate.snapshot.take import take_snapshot as take_snapshot
    from migrate.storage.local_folder import LocalFolder as LocalFolder
    from migrate.upload.report import MigrateReport as MigrateReport
    from migrate.upload.settle import SettleRules as SettleRules

PUBLIC_NAMES = {
    "take_snapshot": "migrate.snapshot.take",
    "SnapshotOptions": "migrate.snapshot.take",
    "Snapshot": "migrate.snapshot.folder",
    "LocalFolder": "migrate.storage.local_folder",
    "PlanRules": "migrate.plan.rules",
    "MappingRules": "migrate.mapping.payload",
    "WriteRules": "migrate.mapping.write_rules",
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
    "Target": "migrate.ports",
    "Runtime": "migrate.runtime",
    "MigrationError": "migrate.errors",
}
load_when_used(__name__, PUBLIC_NAMES)
