"""Bugs in what is compared with the target, and in what is believed before it is written to."""

from tests.faults.canary import Canary, code

OF_COMPARISON = (
    Canary(
        name="numbers-compared-by-spelling",
        effect="a float that comes back as an integer is drift for ever, and repaired for ever",
        file="migrate/model/digest.py",
        old=code(2, "case int() | float() if abs(value) > _EXACT_INTEGER_MAX:"),
        new=code(2, "case float() if abs(value) > _EXACT_INTEGER_MAX:"),
        test="tests/reconcile/test_way_back.py"
        "::test_a_target_that_spells_numbers_its_own_way_is_equal_and_gives_everything_back",
    ),
    Canary(
        name="namespace-not-compared",
        effect="a vector that another writer moved into a namespace is deleted by a rollback",
        file="migrate/upload/settle.py",
        old=code(1, "if not vector.namespace:"),
        new=code(1, "if digest:"),
        test="tests/reconcile/test_changes_of_others.py"
        "::test_reconcile_names_what_differs_and_rollback_keeps_it",
    ),
    Canary(
        name="kv-expiry-not-compared",
        effect="an entry that another writer lets expire passes for equal until it is gone",
        file="reconcile/differences.py",
        old=code(1, "if not _expire_together(expected.expiration, found.expiration):"),
        new=code(1, "if _expire_together(expected.expiration, found.expiration) is None:"),
        test="tests/reconcile/test_changes_of_others.py"
        "::test_reconcile_names_what_differs_and_rollback_keeps_it",
    ),
    Canary(
        name="unlisted-is-missing",
        effect="a listing that leaves an id out is drift, and a repair that mends nothing",
        file="reconcile/scan/vectors.py",
        old=code(2, "found |= target.fetch(asked[start : start + FETCH_IDS_MAX]).keys()"),
        new=code(2, "target.fetch(asked[start : start + FETCH_IDS_MAX])"),
        test="tests/reconcile/test_changes_of_others.py"
        "::test_a_listing_that_leaves_out_what_can_be_read_is_a_contradiction",
    ),
    Canary(
        name="id-file-believed",
        effect="an edited id file makes a repair write other vectors, with exit 0",
        file="migrate/storage/id_files.py",
        old=code(1, "if found != sha256:"),
        new=code(1, "if not found:"),
        test="tests/e2e/test_drift_and_way_back.py"
        "::test_a_changed_file_stops_a_repair_before_its_first_write",
    ),
    Canary(
        name="parts-checked-when-sent",
        effect="a damaged part is found after the parts in front of it were written",
        file="migrate/upload/rounds.py",
        old=code(1, "if file.hash() != (part.bytes, part.sha256):"),
        new=code(1, "if file.hash()[0] != part.bytes:"),
        test="tests/reconcile/test_believed_files.py"
        "::test_a_damaged_part_is_found_before_the_parts_in_front_of_it_are_sent",
    ),
)
