"""Bugs of the file stores: what a client of Vectorize and KV gets wrong when it is sketched."""

from tests.faults.canaries.canary import Canary, code

TESTS = "tests/migrate/file_stores"
VECTORIZE = f"{TESTS}/test_vectorize_store.py"
CRASHES = (
    f"{TESTS}/test_crashes.py"
    "::test_the_same_call_after_a_kill_at_any_request_leaves_what_an_undisturbed_one_leaves"
)

OF_THE_STORES = (
    Canary(
        name="entry-of-this-call-alone",
        effect="an upsert of one chunk makes the file index forget the others",
        file="migrate/file_stores/vectorize_store.py",
        old="dict.fromkeys([*former[file_id].ids, *ids])",
        new="dict.fromkeys(ids)",
        test=f"{VECTORIZE}::test_a_store_does_not_read_back_what_it_has_just_written",
    ),
    Canary(
        name="own-writes-read-back",
        effect="an entry is made from what KV showed a minute ago: ids that are there are left out",
        file="migrate/file_stores/file_index.py",
        old="if own.at_s > oldest_s",
        new="if own.at_s > oldest_s + self._settle_s",
        test=f"{VECTORIZE}::test_a_store_does_not_read_back_what_it_has_just_written",
    ),
    Canary(
        name="young-store-does-not-wait",
        effect="a restarted service makes entries from what KV showed before its own last writes",
        file="migrate/file_stores/file_index.py",
        old="self._opened_s + self._settle_s - clock.monotonic_s()",
        new="self._opened_s - clock.monotonic_s()",
        test=f"{VECTORIZE}::test_a_young_store_waits_once_for_what_an_earlier_process_wrote",
    ),
    Canary(
        name="expiry-lost-on-rewrite",
        effect="an entry that is written again never expires, or vanishes while its vectors stay",
        file="migrate/file_stores/file_index.py",
        old="expiration=expiration,",
        new="expiration=None,",
        test=f"{VECTORIZE}::test_every_rewrite_of_an_entry_sets_its_expiry_again",
    ),
    Canary(
        name="counter-from-a-single-read",
        effect="one stale read makes the counter wrong until the next write",
        file="migrate/file_stores/vectorize_store.py",
        old="lambda before, now: before == now",
        new="lambda before, now: True",
        test=f"{VECTORIZE}::test_a_single_stale_total_is_not_written",
    ),
    Canary(
        name="entry-before-its-vectors",
        effect="a kill leaves an entry that names vectors the index never took",
        file="migrate/file_stores/vectorize_store.py",
        old=code(2, "self._upload(checked)"),
        new=code(2, "self._files.write(entries)", "self._upload(checked)"),
        test=CRASHES,
    ),
    Canary(
        name="entry-removed-before-its-vectors",
        effect="after a kill, search still finds a deleted file, and no entry names its vectors",
        file="migrate/file_stores/vectorize_store.py",
        old=code(2, "self._remove(ids)", "if ids:", "    self._files.write({file_id: NO_ENTRY})"),
        new=code(2, "if ids:", "    self._files.write({file_id: NO_ENTRY})", "self._remove(ids)"),
        test=CRASHES,
    ),
    Canary(
        name="stale-read-shortens-a-file",
        effect="a file is read with chunks missing that are there",
        file="migrate/file_stores/vectorize_store.py",
        old="lambda _: len(found) == len(ids)",
        new="lambda _: True",
        test=f"{VECTORIZE}::test_a_read_that_shows_a_former_state_does_not_shorten_a_file",
    ),
    Canary(
        name="dimensions-not-checked",
        effect="values of the whole model are sent, and the service refuses every upload",
        file="migrate/file_stores/rules.py",
        old="if values.shape != (self.dimensions,):",
        new="if values.ndim != 1:",
        test=f"{TESTS}/test_conformance.py"
        "::test_a_vector_that_cannot_be_stored_is_named_and_nothing_is_sent",
    ),
    Canary(
        name="former-point-kept",
        effect="a chunk of an old collection is there twice after its next upsert",
        file="migrate/file_stores/qdrant_store.py",
        old="chunks = None if whole_files else list(ids.values())",
        new="chunks = None if whole_files else []",
        test=f"{TESTS}/test_qdrant_store.py"
        "::test_points_with_ids_of_another_rule_are_read_replaced_and_deleted",
    ),
)
