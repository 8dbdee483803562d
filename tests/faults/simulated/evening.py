"""A whole evening in virtual time, its troubles and its writers drawn from a seed.

A first snapshot while others write, catch-ups, the freeze, gate, cutover, a Worker on the new side,
looks of the monitor; then the way back: export, rollback, restore, a reset. Each command has lives
in bad weather, in which the machine fails too, and then a calm one.

What must be there is told by the points of the source, the former content, and what the Worker
left; no code of the tool is asked for it.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import qdrant_edge
from typing_extensions import override

from migrate.errors import IndeterminateError, PreconditionError
from migrate.file_stores.contract import FileVector
from migrate.file_stores.rules import FileStoreRules
from migrate.model.records import VectorId
from migrate.run.choose.find import find_run
from reconcile.gate.criteria import Criterion
from tests.faults.operators import Contents, contents
from tests.faults.simulated.lives import SETTLED_S, Simulation
from tests.harness.fakes.memory_source import values_of
from tests.harness.fakes.steps import KilledError
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.target_reader import read_target
from tests.harness.world import FILES, RESTORED, World
from tests.migrate.file_stores.backends import Edge, edge_of

COUNTER = "_vector_count"
LONE = "file-9_0"  # another writer's vector, of a file that comes later
KV_SETTLED_S = 12.0  # from then on KV shows a write, even after a read that found no key
ATTEMPTS_MAX = 4  # of a command whose answer may be "not known", in calm weather
SURE = {Criterion.RIGHTS, Criterion.WINDOW}  # rows that say nothing of the data


class EveningSimulation(Simulation):
    """One seed."""

    replay = ".venv/bin/python -m tests.faults.simulation --kind evening --seed {}"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._chance = random.Random(f"evening/{seed}")
        self._is_moving = True
        self._left: dict[str, set[bytes]] = {}  # record -> contents that runs have left
        self._worked: dict[str, bytes] = {}  # record -> content after the Worker's writes
        self._written: set[str] = set()  # ids and keys that points ever had
        self._number = 0  # of the points and files that writers have added

    @override
    def _live(self, world: World) -> None:
        zeros = np.zeros(DIMENSIONS, np.float32)
        zeros[5] = 1.0
        world.app.store.put_vector(INDEX, LONE, zeros, {"from": "a trial"}, "theirs")
        former = contents(world)
        moved = self._move(world, former)
        self._decide(world)
        self._work(world)
        after = self._settled(world)
        self._worked = read_target(world.folder / "target").records
        self._watch(world)
        self._go_back(world, former, moved, after)
        self._restore(world)
        self._reset(world)
        self.outcome.hours = world.clock.monotonic_s() / 3600

    # --- the move ----------------------------------------------------------------------------

    def _move(self, world: World, former: Contents) -> Contents:
        """Snapshot, migrate and catch up; what the target holds then."""
        chance = self._chance
        self._while_written(world, lambda: self._storm(world, lambda: world.snapshot(moving=True)))
        self._storm(world, world.migrate)
        for _ in range(chance.randint(0, 2)):
            self._edit(world)
            self._while_written(world, lambda: self._storm(world, self._catch_up(world)))
        self._edit(world)
        self._storm(world, self._catch_up(world, moving=False))
        self._is_moving = False
        found = self._settled(world)
        # Another writer's record that a point has overwritten is gone with that point: a rollback
        # gives it back.
        gone = {name for name in former if name in self._written and name not in found}
        kept = {name: held for name, held in former.items() if name not in gone}
        _compare(found, expected(world, kept), "the target does not hold the source")
        return found

    def _catch_up(self, world: World, *, moving: bool = True) -> Callable[[], object]:
        """As an operator would: what the refusal names is finished first."""

        def catch_up() -> None:
            self._keep(world)
            try:
                world.catch_up(moving=moving)
            except PreconditionError as error:
                named = re.search(r"`q2v migrate (\S+)`", error.remedy)
                if named is None:
                    raise
                world.migrate(Path(named.group(1)))
                self._keep(world)
                world.catch_up(moving=moving)

        return catch_up

    def _while_written(self, world: World, act: Callable[[], None]) -> None:
        """Others write while the source is read."""

        def write(_: int) -> None:
            if self._chance.random() < 0.1:
                self._edit_one(world)

        world.source.before_read = write
        act()
        world.source.before_read = lambda _: None

    def _edit(self, world: World) -> None:
        for _ in range(self._chance.choice([0, 1, 4, 9])):
            self._edit_one(world)

    def _edit_one(self, world: World) -> None:
        """Others change, move, delete or add a point; a deleted one may be written again."""
        chance, points = self._chance, world.source.points
        self._note(world)
        number = chance.choice(sorted(points))
        match chance.choice(["text", "values", "place", "delete", "add", "add", "lone"]):
            case "text":
                points[number] = {**points[number], "text": f"changed {chance.random()}"}
            case "values":
                points[number] = {**points[number], "shift": chance.randint(1, 9)}
            case "place":
                self._number += 1
                points[number] = {**points[number], "chunk_index": 100 + self._number}
            case "delete" if len(points) > 10:
                del points[number]
            case "lone":
                if 5 in points:
                    del points[5]
                else:
                    points[5] = _chunk("file-9", 0, "lone")
            case _:
                self._number += 1
                file = f"file-{chance.randint(0, FILES + 2)}"
                added = _chunk(file, 1_000 + self._number, f"added {chance.random()}")
                points[10 * self._number + chance.randint(6, 9)] = added

    @override
    def _check(self, world: World, acknowledged: set[str], uploads: int) -> None:
        super()._check(world, acknowledged, uploads)
        self._keep(world)

    def _keep(self, world: World) -> None:
        """What a run has left: the Worker may write the same again, and it counts as the run's."""
        if not self._is_moving:
            return
        # The newest state, also where readers do not see it yet.
        for name, held in read_target(world.folder / "target").records.items():
            self._left.setdefault(name, set()).add(held)

    def _note(self, world: World) -> None:
        for payload in world.source.points.values():
            self._written.add(f"{payload['file_id']}_{payload['chunk_index']}")
            self._written.add(f"file:{payload['file_id']}")

    # --- the decision ------------------------------------------------------------------------

    def _decide(self, world: World) -> None:
        """Reconcile says equal and the gate says go; in bad weather neither is ever wrong."""
        self._storm(world, self._reconcile(world))
        self._storm(world, self._gate(world))
        for _ in range(ATTEMPTS_MAX):
            if self._says(world, lambda: world.reconcile().verdict) == "equal":
                break
            world.clock.wait(SETTLED_S)
        for _ in range(ATTEMPTS_MAX):
            if self._says(world, lambda: world.gate().verdict) == "go":
                return
            world.clock.wait(SETTLED_S)
        with world.calm():
            rows = [(row.criterion.word, row.verdict, row.found) for row in world.gate().rows]
        raise AssertionError(f"no go in calm weather: {rows}")

    def _says(self, world: World, ask: Callable[[], str]) -> str:
        found: list[str] = []
        self._clear(world, lambda: found.append(ask()))
        return found[-1]

    def _gate(self, world: World) -> Callable[[], object]:
        def gate() -> None:
            for row in world.gate().rows:
                wrong = row.verdict == "fail" and row.criterion not in SURE
                assert not wrong, f"I6: {row.criterion.word} fails: {row.found}"

        return gate

    # --- the new side ------------------------------------------------------------------------

    def _work(self, world: World) -> None:
        """The Worker writes through its file store; a killed call is made again."""
        with edge_of(world) as site, closing(find_run(world.directory, None, None)) as run:
            site.kv_settle_s = KV_SETTLED_S
            rules = FileStoreRules(
                dimensions=DIMENSIONS,
                metric=run.plan.values.metric,
                mapping=run.plan.mapping,
                writes=run.plan.writes,
            )
            for _ in range(self._chance.randint(0, 4)):
                self._work_once(site, rules)

    def _work_once(self, site: Edge, rules: FileStoreRules) -> None:
        chance = self._chance
        number = chance.randint(0, FILES - 1)
        kind = chance.choice(["new", "new", "shorter", "longer", "delete"])
        self._number += 1
        file = f"new-{self._number}" if kind == "new" else f"file-{number}"
        first = 3_000 if kind == "longer" else 0
        vectors = [
            FileVector(
                id=VectorId(f"{file}_{first + at}"),
                values=np.array([chance.random() for _ in range(DIMENSIONS)], np.float32),
                metadata=_chunk(file, first + at, f"of the new side {chance.random()}"),
            )
            for at in range(chance.randint(1, 4))
        ]

        def call() -> None:
            store = site.open(rules)
            if kind == "delete":
                store.delete_vectors_by_file_id(file)
            else:
                store.upsert_vectors(vectors, whole_files=kind == "shorter")

        site.steps.strike_at = len(site.steps.done) + chance.randint(1, 15)
        for _ in range(ATTEMPTS_MAX):
            try:
                call()
            except (KilledError, IndeterminateError):
                site.steps.strike_at, site.steps.dead = 0, False
            else:
                return
        call()

    def _watch(self, world: World) -> None:
        def look() -> None:
            looked = world.monitor().looked
            assert looked.verdict != "inconsistent", f"the monitor says {looked.why}"

        self._storm(world, look)

    # --- the way back ------------------------------------------------------------------------

    def _go_back(self, world: World, former: Contents, moved: Contents, after: Contents) -> None:
        """Undo the chain, with an export before or after; only what the Worker wrote is left."""
        chance = self._chance
        is_exported_first = chance.random() < 0.7
        if is_exported_first:
            self._storm(world, world.export_later)
            held = self._settled(world)
            _compare(held, after, "an export wrote to the target")
        self._storm(world, lambda: world.roll_back(leave_later_writes=not is_exported_first))
        left = self._settled(world)
        kept = {
            name: moved[name] if self._is_undone(name, held, left) else held
            for name, held in after.items()
            if name in moved or not self._is_undone(name, held, left)
        }
        _compare(left, undone(former, moved, kept), "I7: not as before, or the Worker's is gone")
        if not is_exported_first:
            self._storm(world, world.export_later)
        # What was there before, and no run wrote, is not read (decision 0042).
        not_read = {name for name, held in former.items() if moved.get(name) == held}
        self._check_export(world, moved, after, not_read)

    def _is_undone(self, name: str, held: tuple[object, ...], left: Contents) -> bool:
        """Whether the Worker wrote what an earlier run had left, and the rollback undid it."""
        is_key = ":" in name or name == COUNTER
        record = f"entry small-files {name}" if is_key else f"vector {INDEX} {name}"
        written = self._worked.get(record)
        return left.get(name) != held and written in self._left.get(record, ())

    def _check_export(
        self, world: World, moved: Contents, after: Contents, not_read: set[str]
    ) -> None:
        changed = {name for name, held in after.items() if held != moved.get(name)}
        written = {name for name in changed - not_read - {COUNTER} if ":" not in name}
        exports = world.exports()
        held = {
            f"{payload['file_id']}_{payload['chunk_index']}"
            for export in exports[-1:]
            for rows in export.read(with_vectors=())
            for payload in map(json.loads, rows.page.payloads)
        }
        missing, foreign = sorted(written - held), sorted(held - written)
        assert held == written, f"not exported: {missing}; exported and not written: {foreign}"

    def _restore(self, world: World) -> None:
        """The chain into a new store, then the export beside it."""
        self._storm(world, world.restore)
        wanted = {number: dict(payload) for number, payload in world.source.points.items()}
        assert stored_points(world) == wanted, "the restored collection is not the source"
        exports = world.exports()
        if not exports or not exports[-1].manifest.points:
            return
        self._storm(world, lambda: world.restore(exports[-1], append=True))
        found = stored_points(world)
        for rows in exports[-1].read(with_vectors=()):
            for point_id, payload in zip(rows.page.ids, rows.page.payloads, strict=True):
                key = point_id.wire
                assert found[key] == json.loads(payload), f"point {key} was not restored"

    def _reset(self, world: World) -> None:
        """Fresh start, of a target that is moved again or not: only what is named goes."""
        if self._chance.random() < 0.5:
            self._storm(world, world.migrate)
        before = self._settled(world)
        allowed = frozenset(name for name in sorted(before) if self._chance.random() < 0.4)
        self._storm(world, lambda: world.reset_target(allowed))
        left = self._settled(world)
        named = sorted(left.keys() & allowed)
        assert not named, f"named and not deleted: {named}"
        self._check_kept(world, before, left, allowed)

    def _check_kept(
        self, world: World, before: Contents, left: Contents, allowed: frozenset[str]
    ) -> None:
        """What nobody named and no run wrote is as it was."""
        with closing(find_run(world.directory, None, None)) as run:
            written = {
                str(one) for batch in run.targets(["vector_id"]) for one in batch["vector_id"]
            }
        for name, held in before.items():
            is_ours = name in written or name == COUNTER or name.startswith("file:")
            if not is_ours and name not in allowed:
                assert left.get(name) == held, f"{name} was not named, and is not as it was"

    def _settled(self, world: World) -> Contents:
        world.clock.wait(SETTLED_S)
        return contents(world)


def _chunk(file: str, number: int, text: str) -> dict[str, object]:
    hashed = hashlib.sha256(text.encode()).hexdigest()
    return {"file_id": file, "chunk_index": number, "chunk_hash": hashed, "text": text}


def expected(world: World, former: Contents) -> Contents:
    """What the target has to hold, by the points of the source."""
    files: dict[str, list[tuple[int, str]]] = {}
    found = dict(former)
    for number, payload in world.source.points.items():
        values = np.zeros(DIMENSIONS, np.float32)
        values[:4] = values_of(number, payload)
        values /= np.linalg.norm(values)
        file, chunk = str(payload["file_id"]), payload["chunk_index"]
        assert isinstance(chunk, int)
        vector_id = f"{file}_{chunk}"
        files.setdefault(file, []).append((chunk, vector_id))
        found[vector_id] = (values.tobytes(), None, repr(dict(sorted(payload.items()))))
    for file, chunks in files.items():
        value = json.dumps([one for _, one in sorted(chunks)], separators=(",", ":"))
        found[f"file:{file}"] = (value.encode(), repr(None), None)
    vectors = sum(":" not in name for name in found.keys() - {COUNTER})
    found[COUNTER] = (str(vectors).encode(), repr(None), None)
    return found


def undone(former: Contents, moved: Contents, after: Contents) -> Contents:
    """The former content, and what the Worker wrote over `moved`; what it removed is former."""
    written = {name: held for name, held in after.items() if held != moved.get(name)}
    return {**former, **written}


def stored_points(world: World) -> dict[int | str, Mapping[str, object]]:
    """The points of the restored store, read by the engine."""
    shard = qdrant_edge.EdgeShard.load(str(world.folder / RESTORED))
    try:
        found, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=10_000, with_payload=True))
        return {
            one.id if isinstance(one.id, int) else str(one.id): one.payload or {} for one in found
        }
    finally:
        shard.close()


def _compare(found: Contents, wanted: Contents, what: str) -> None:
    differing = sorted(
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    )
    shown = [(name, _short(found.get(name)), _short(wanted.get(name))) for name in differing[:4]]
    assert not differing, f"{what}: {len(differing)} differ, first {shown}"


def _short(held: tuple[object, ...] | None) -> object:
    if held is None:
        return None
    values = held[0]
    assert isinstance(values, bytes)
    text = values[:400] if len(values) != 4 * DIMENSIONS else hashlib.sha256(values).hexdigest()[:8]
    return (text, *held[1:])
