"""Bugs of the reading: a point that is lost, blamed or believed without a word."""

from tests.faults.canaries.canary import Canary, code

FAILING = "tests/migrate/qdrant/test_failing_pages.py"

OF_THE_READING = (
    Canary(
        name="outage-blames-a-point",
        effect="a server that is down for a minute has healthy points left out of the snapshot",
        file="migrate/qdrant/page_reader.py",
        old=code(2, "first, outage = self._ask_probe(start, tries)"),
        new=code(2, "first, outage = start or PointId(0, 0), False"),
        test=f"{FAILING}::test_a_server_that_is_down_is_not_asked_for_ever_smaller_pages",
    ),
    Canary(
        name="cut-page-never-halved",
        effect="a page that is too large for the server ends the snapshot as if it were down",
        file="migrate/qdrant/page_reader.py",
        old=code(3, "size.halve(asked)", "tries.smaller(asked)"),
        new=code(3, "raise self._retry.given_up(failure) from failure"),
        test=f"{FAILING}::test_one_point_that_fails_is_named",
    ),
    Canary(
        name="point-left-out-unseen",
        effect="a point that could not be read is sealed as one without payload and vector",
        file="migrate/model/pages.py",
        old="irregular=(UNREADABLE,),",
        new="irregular=(None,),",
        test="tests/migrate/snapshot/test_take.py"
        "::test_points_left_out_are_rows_with_their_id_and_stand_in_the_manifest",
    ),
    Canary(
        name="equal-without-a-word",
        effect="reconcile says equal and not that it could not see some points of the source",
        file="reconcile/compare.py",
        old='why=why + _left_out(run, with_source=with_source) * (verdict == "equal"),',
        new="why=why,",
        test="tests/e2e/payloads/test_unreadable_points.py"
        "::test_a_point_left_out_is_quarantined_by_every_command_and_never_simply_equal",
    ),
    Canary(
        name="rounded-number-believed",
        effect="gRPC's rounded integers are sealed: another number than the source holds",
        file="migrate/qdrant/grpc/records.py",
        old="if ROUNDED_MIN <= value <= ROUNDED_MAX:",
        new="if ROUNDED_MIN <= value < ROUNDED_MIN:",
        test="tests/migrate/qdrant/rest/test_single_point.py"
        "::test_a_point_that_grpc_cannot_carry_is_read_over_rest",
    ),
    Canary(
        name="refused-payload-dropped",
        effect="a payload that JSON libraries refuse is gone from the snapshot",
        file="migrate/qdrant/rest/records.py",
        old='return b"{}", text, str(refusal)',
        new='return b"{}", None, None',
        test="tests/migrate/qdrant/rest/test_single_point.py"
        "::test_a_payload_that_libraries_refuse_is_kept_as_its_text",
    ),
)
