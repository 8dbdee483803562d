"""Bugs in what is compared with the target, and in what is believed before it is written to."""

from tests.faults.canaries.canary import Canary, code

SEVERAL = "tests/e2e/several_indexes/test_several_indexes.py"

OF_COMPARISON = (
    Canary(
        name="numbers-compared-by-spelling",
        effect="a float that comes back as an integer is drift for ever, and repaired for ever",
        file="migrate/model/digest.py",
        old=code(2, "case int() | float() if abs(value) > _EXACT_INTEGER_MAX:"),
        new=code(2, "case float() if abs(value) > _EXACT_INTEGER_MAX:"),
        test="tests/reconcile/rollback/test_way_back.py"
        "::test_a_target_that_spells_numbers_its_own_way_is_equal_and_gives_everything_back",
    ),
    Canary(
        name="namespace-not-compared",
        effect="a vector that another writer moved into a namespace is deleted by a rollback",
        file="migrate/model/digest.py",
        old=code(1, "if not namespace:"),
        new=code(1, "if digest:"),
        test="tests/reconcile/rollback/test_changes_of_others.py"
        "::test_reconcile_names_what_differs_and_rollback_keeps_it",
    ),
    Canary(
        name="another-tenant-passes",
        effect="a vector of one tenant lies in the namespace of another, and reconcile says equal",
        file="migrate/model/digest.py",
        old=code(1, "if not namespace:"),
        new=code(1, "if digest:"),
        test="tests/reconcile/test_namespaces.py::test_a_wrong_namespace_is_found_named_and_mended",
    ),
    Canary(
        name="entry-names-no-index",
        effect="readers look for the vectors of a file in every index, or in the wrong one",
        file="migrate/mapping/kv_entries.py",
        old=code(1, "if mapping.shards is not None:"),
        new=code(1, "if index is not None:"),
        test="tests/migrate/mapping/test_shards.py"
        "::test_the_indexes_are_those_that_every_language_finds",
    ),
    Canary(
        name="keys-of-other-indexes-taken",
        effect="the run into one of several indexes reports the entries of the others as extra",
        file="migrate/upload/listing.py",
        old=code(1, "if plan.mapping.shards is None:"),
        new=code(1, "if plan.mapping.group_key:"),
        test=f"{SEVERAL}::test_a_vector_that_is_lost_in_one_index_changes_that_verdict_alone",
    ),
    Canary(
        name="rows-of-other-indexes-sent",
        effect="each of several indexes gets the vectors of the whole collection",
        file="migrate/run/folder.py",
        old=code(2, "if self.plan.mapping.shards is None:"),
        new=code(2, "if self.plan.points:"),
        test=f"{SEVERAL}::test_a_vector_that_is_lost_in_one_index_changes_that_verdict_alone",
    ),
    Canary(
        name="runs-of-other-indexes-continued",
        effect="a command for one of several indexes takes the newest run, which is of another",
        file="migrate/run/folder.py",
        old="return [one for one in runs if own is None or index_of_run(one.name) == own]",
        new="return runs",
        test=f"{SEVERAL}::test_two_indexes_are_written_at_once_and_a_killed_run_continues",
    ),
    Canary(
        name="another-list-accepted",
        effect="a file belongs to two of several indexes, or to none, after the list has changed",
        file="migrate/run/choose/chain.py",
        old=code(2, 'return [f"target.shards {lists[0]}, the settings say {lists[1]}"]'),
        new=code(2, "return []"),
        test=f"{SEVERAL}::test_another_list_or_another_mapping_is_refused_while_a_run_stands",
    ),
    Canary(
        name="tenant-of-equal-points-ignored",
        effect="two tenants hold equal points with one id: one of them loses its vector in silence",
        file="migrate/plan/census/planned.py",
        old="digest_vectors(ids, values, metadata, namespaces)",
        new="digest_vectors(ids, values, metadata)",
        test="tests/migrate/plan/test_namespaces.py"
        "::test_equal_points_of_two_tenants_are_no_duplicates",
    ),
    Canary(
        name="kv-expiry-not-compared",
        effect="an entry that another writer lets expire passes for equal until it is gone",
        file="reconcile/differences.py",
        old=code(1, "if not _expire_together(expected.expiration, found.expiration):"),
        new=code(1, "if _expire_together(expected.expiration, found.expiration) is None:"),
        test="tests/reconcile/rollback/test_changes_of_others.py"
        "::test_reconcile_names_what_differs_and_rollback_keeps_it",
    ),
    Canary(
        name="unlisted-is-missing",
        effect="a listing that leaves an id out is drift, and a repair that mends nothing",
        file="reconcile/scan/vectors.py",
        old=code(2, "found |= target.fetch(asked[start : start + FETCH_IDS_MAX]).keys()"),
        new=code(2, "target.fetch(asked[start : start + FETCH_IDS_MAX])"),
        test="tests/reconcile/rollback/test_changes_of_others.py"
        "::test_a_listing_that_leaves_out_what_can_be_read_is_a_contradiction",
    ),
    Canary(
        name="id-file-believed",
        effect="an edited id file makes a repair write other vectors, with exit 0",
        file="migrate/storage/id_files.py",
        old=code(1, "if found != sha256:"),
        new=code(1, "if not found:"),
        test="tests/e2e/after/test_drift_and_way_back.py"
        "::test_a_changed_file_stops_a_repair_before_its_first_write",
    ),
    Canary(
        name="parts-checked-when-sent",
        effect="a damaged part is found after the parts in front of it were written",
        file="migrate/snapshot/folder.py",
        old=code(2, "if file.hash() != (self.part.bytes, self.part.sha256):"),
        new=code(2, "if file.hash()[0] != self.part.bytes:"),
        test="tests/reconcile/test_believed_files.py"
        "::test_a_damaged_part_is_found_before_the_parts_in_front_of_it_are_sent",
    ),
    Canary(
        name="removed-before-the-keys",
        effect="a reader of the KV index is sent to vectors that a catch-up has deleted",
        file="migrate/migrate.py",
        old=code(
            1,
            "write_kv_index(run, target.kv, runtime, only=selection.keys, kept=selection.kept)",
            "remove_vectors(run, target.vectors, options.settle, runtime)",
        ),
        new=code(
            1,
            "remove_vectors(run, target.vectors, options.settle, runtime)",
            "write_kv_index(run, target.kv, runtime, only=selection.keys, kept=selection.kept)",
        ),
        test="tests/migrate/test_catch_up.py::test_no_kv_entry_names_a_vector_that_is_gone",
    ),
    Canary(
        name="changed-by-others-deleted",
        effect="a catch-up deletes a vector that another writer has changed",
        file="migrate/upload/removal.py",
        old="record.former is not None and record.vector_id not in kept",
        new="record.former is not None",
        test="tests/migrate/test_catch_up.py"
        "::test_a_vector_that_another_writer_changed_is_not_deleted",
    ),
    Canary(
        name="moving-is-equal",
        effect="a chain whose last link was read while others wrote passes for a proof",
        file="reconcile/compare.py",
        old=code(1, "if manifest.moving:"),
        new=code(1, "if manifest.moving is None:"),
        test="tests/migrate/test_catch_up.py::test_a_chain_that_was_not_read_frozen_is_never_equal",
    ),
    Canary(
        name="unread-vectors-are-equal",
        effect="vectors that --payload-only did not read pass for proven without the source",
        file="reconcile/compare.py",
        old=code(1, "if manifest.payload_only and findings.source is None:"),
        new=code(1, "if manifest.payload_only and findings.source is False:"),
        test="tests/e2e/move/test_catch_up.py"
        "::test_payloads_alone_are_no_proof_until_a_reconcile_has_read_the_source",
    ),
    Canary(
        name="deletion-not-found",
        effect="a point deleted after the last known one stays in the target",
        file="migrate/snapshot/chain/range_changes.py",
        old=code(2, "self._delete_until(len(self._known.ids))"),
        new=code(2, "self._delete_until(self._next)"),
        test="tests/migrate/snapshot/test_difference.py"
        "::test_a_chain_holds_what_a_fresh_snapshot_of_the_same_points_holds",
    ),
    Canary(
        name="incomplete-index-judged",
        effect="an index that lost vectors since its reconcile is told to answer as it should",
        file="reconcile/parity/parity.py",
        old=code(1, "if listed != now:"),
        new=code(1, "if not listed:"),
        test="tests/e2e/trust/test_parity.py::test_an_index_that_lost_a_hundredth_is_not_judged",
    ),
    Canary(
        name="query-finds-itself",
        effect="every stored query is its own first neighbour, so fewer dimensions look better",
        file="reconcile/parity/nearest.py",
        old=code(3, "scores[own] = -np.inf"),
        new=code(3, "scores[own] = scores[own]"),
        test="tests/reconcile/parity/test_nearest.py::test_it_finds_what_brute_force_finds",
    ),
)
