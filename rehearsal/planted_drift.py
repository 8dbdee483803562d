"""Plant drift of every class directly in the sandbox."""

from dataclasses import dataclass

import numpy as np

from migrate.mapping.kv_entries import encode_file_value
from migrate.mapping.payload import encode_kv_key
from migrate.model.records import Float32Matrix
from migrate.upload.mapped import MappedRows
from rehearsal.context import INDEX, Context
from rehearsal.script import Script


@dataclass(frozen=True, slots=True)
class Planted:
    """What was changed in the target without the tool, by class of drift."""

    ids: dict[str, tuple[str, ...]]
    counter: bool = True


def plant(script: Script, context: Context, rows: MappedRows) -> Planted:
    """Plant one or two differences of every class directly in the sandbox."""
    with script.step("An accident: differences planted directly in the sandbox") as step:
        store, namespace = context.sandbox.store, context.namespace_id
        held: dict[str, tuple[Float32Matrix, dict[str, object]]] = {}
        for vector_id, values, _, metadata in store.read_vectors(INDEX):
            held[vector_id] = (values, metadata if isinstance(metadata, dict) else {})
        ids = rows.ids[-5:]
        for vector_id in ids[:2]:
            store.remove_vector(INDEX, vector_id)
        bent = held[ids[2]][0].copy()
        bent.view(np.uint32)[0] ^= 1  # one bit of one value
        store.put_vector(INDEX, ids[2], bent, held[ids[2]][1])
        store.put_vector(INDEX, ids[3], held[ids[3]][0], {**held[ids[3]][1], "more": True})
        store.put_vector(INDEX, "stray", held[ids[4]][0], {"from": "elsewhere"})
        planted = {
            "missing": ids[:2],
            "mismatched": ids[2:4],
            "extra": ("stray",),
            "unreadable": (),
            **_plant_kv(context, rows),
        }
        store.put_kv(namespace, context.tool.plan_rules().writes.counter_key, b"17")
        step.lines += [f"{name}: {', '.join(some)}" for name, some in planted.items() if some]
        step.lines.append("counter: set to 17")
        context.clock.wait(context.settled_s)  # until then a read may show the former state
    return Planted(planted)


def _plant_kv(context: Context, rows: MappedRows) -> dict[str, tuple[str, ...]]:
    store, namespace = context.sandbox.store, context.namespace_id
    mapping = context.tool.plan_rules().mapping
    if not mapping.group_key:
        return {"kv_missing": (), "kv_mismatched": (), "kv_extra": ()}
    files = sorted({file for file in rows.files if file is not None})[:2]
    keys = [encode_kv_key(file, mapping) for file in files]
    stray = encode_kv_key("stray", mapping)
    removed, bent = tuple(keys[:-1]), keys[-1]  # of a single file only the value is changed
    for key in removed:
        store.remove_kv(namespace, key)
    store.put_kv(namespace, bent, encode_file_value([rows.ids[0]]))
    store.put_kv(namespace, stray, b"[]")
    return {"kv_missing": removed, "kv_mismatched": (bent,), "kv_extra": (stray,)}
