"""Bugs in what is checked of metadata indexes: every one leaves filters that find nothing."""

from tests.faults.canaries.canary import Canary, code

OF_THE_METADATA = (
    Canary(
        name="types-of-properties-not-counted",
        effect="an index declared for numbers over a field of texts passes for a good one",
        file="migrate/plan/census/planned.py",
        old=code(2, "if found != declared:  # most values have the declared type"),
        new=code(2, "if found == 'missing':"),
        test="tests/migrate/plan/test_make.py"
        "::test_an_index_with_which_no_filter_finds_anything_is_refused",
    ),
    Canary(
        name="filter-answers-not-compared",
        effect="an index that came after the vectors passes for a good one: filters find nothing",
        file="reconcile/scan/metadata.py",
        old=code(
            2, "lacking = lacking or (len(answers.shown) < len(probe.ids) and not answers.full)"
        ),
        new="",
        test="tests/reconcile/scan/test_metadata_indexes.py"
        "::test_an_index_that_filters_cannot_use_is_drift_until_the_vectors_are_written_again",
    ),
    Canary(
        name="one-stale-answer-is-enough",
        effect="a single stale answer of a filter is drift, and a repair writes everything again",
        file="reconcile/scan/metadata.py",
        old="ATTEMPTS_MAX = 4",
        new="ATTEMPTS_MAX = 1",
        test="tests/reconcile/scan/test_metadata_indexes.py::test_stale_lists_and_answers_are_no_drift",
    ),
    Canary(
        name="late-index-without-a-warning",
        effect="provision adds an index to vectors that it will never hold, and says nothing",
        file="migrate/provision_index.py",
        old="is_late = index is not None and None in listed.values()",
        new="is_late = False",
        test="tests/e2e/move/test_metadata_indexes.py"
        "::test_an_index_added_after_the_upload_is_warned_of_found_and_filled",
    ),
    Canary(
        name="repair-leaves-the-unfiltered",
        effect="a repair leaves out what filters do not find, and reconcile says so for ever",
        file="migrate/run/drift_report.py",
        old='VECTOR_CLASSES = ("missing", "mismatched", UNFILTERED)',
        new='VECTOR_CLASSES = ("missing", "mismatched")',
        test="tests/reconcile/scan/test_metadata_indexes.py"
        "::test_an_index_that_filters_cannot_use_is_drift_until_the_vectors_are_written_again",
    ),
)
