"""Planted bugs in what an answer of the target is taken for."""

from tests.faults.canaries.canary import Canary, code

TESTS = "tests/migrate"

OF_THE_ANSWERS = (
    Canary(
        name="page-taken-for-a-refusal",
        effect="an edge page refuses healthy vectors for good",
        file="migrate/cloudflare/client/verdict.py",
        old="if envelope is None or not envelope.is_service_form or envelope.success:",
        new="if envelope is not None and envelope.success:",
        test="tests/migrate/cloudflare/client/test_foreign_answers.py"
        "::test_it_is_retried_and_then_unavailable_with_its_own_words",
    ),
    Canary(
        name="page-taken-for-a-value",
        effect="a login page becomes the pre-image of a KV entry",
        file="migrate/cloudflare/client/verdict.py",
        old="if raw and head.status == HTTPStatus.OK and not head.page:",
        new="if raw and head.status == HTTPStatus.OK:",
        test="tests/migrate/cloudflare/client/test_foreign_answers.py"
        "::test_no_page_is_an_absent_index_an_absent_key_or_a_value",
    ),
    Canary(
        name="quota-waited-for",
        effect="a daily limit costs half an hour of silence before anybody reads of it",
        file="migrate/cloudflare/client/verdict.py",
        old=code(1, "if found := by_subject.get(Subject.QUOTA):"),
        new=code(1, "if (found := by_subject.get(Subject.QUOTA)) and head.status != 429:"),
        test="tests/migrate/cloudflare/client/test_foreign_answers.py"
        "::test_a_quota_ends_the_run_at_once_with_code_and_sentence",
    ),
    Canary(
        name="proxy-404-believed",
        effect="a proxy that is down for a minute makes the run end: Qdrant has no such collection",
        file="migrate/qdrant/rest/source.py",
        old=code(2, "if response.is_success or error is None:"),
        new=code(2, "if response.is_success:"),
        test="tests/migrate/qdrant/test_foreign_answers.py"
        "::test_a_proxys_404_is_not_taken_for_a_missing_collection",
    ),
    Canary(
        name="refused-without-evidence",
        effect="a service that refuses everything for a while refuses innocent vectors for good",
        file="migrate/upload/sending.py",
        old="if self._accepts_refusals or error.refused_part is RefusedPart.LINE:",
        new="if self._accepts_refusals or error.refused_part is not None:",
        test="tests/migrate/upload/test_refusals_of_the_whole.py"
        "::test_a_target_that_refuses_all_stops_the_run_and_condemns_no_vector",
    ),
    Canary(
        name="retried-and-forgotten",
        effect="vectors of a retry that is killed are neither refused nor ever sent",
        file="migrate/run/journal.py",
        old=code(2, "current.pending.put_back_whole(row, alone[row].end)"),
        new=code(2, "assert alone[row].end > row"),
        test="tests/migrate/upload/test_refusals_of_the_whole.py"
        "::test_each_way_out_of_too_many_refusals_leads_on",
    ),
    Canary(
        name="counted-by-departure",
        effect="a slow request leaves the window early: the account gets more than its budget",
        file="migrate/cloudflare/budget/budget.py",
        old="self._table.end_early(departure.row_id, now_s + REQUEST_WINDOW_S)",
        new="self._table.end_early(departure.row_id, departure.at_s + REQUEST_WINDOW_S)",
        test="tests/migrate/cloudflare/budget/test_budget.py"
        "::test_a_request_counts_until_300_s_after_its_answer",
    ),
)
