"""Planted bugs in the gate, the monitor, the reset and the checklist before the end."""

from tests.faults.canaries.canary import Canary, code

GATE = "tests/e2e/after/test_gate.py"
RULES = "tests/reconcile/gate/test_criteria.py"
LOOK = "tests/reconcile/monitor/test_look.py"
HISTORY = "tests/reconcile/monitor/test_history.py"
RESET = "tests/e2e/after/test_reset_target.py"
CHAIN = "tests/migrate/test_catch_up.py"
BACK = "tests/e2e/after/test_going_back.py"
CHECKLIST = "tests/e2e/after/test_decommission.py"

OF_THE_GATE = (
    Canary(
        name="unknown-row-passes",
        effect="a criterion of which nothing is known is no obstacle to the cutover",
        file="reconcile/gate/criteria.py",
        old='passed = {row.criterion for row in rows if row.verdict == "pass"}',
        new='passed = {row.criterion for row in rows if row.verdict in {"pass", "unknown"}}',
        test=f"{RULES}::test_one_bad_row_alone_is_a_no_go",
    ),
    Canary(
        name="stale-row-passes",
        effect="evidence of yesterday decides today",
        file="reconcile/gate/criteria.py",
        old="if age_s is not None and age_s > age_max_s:",
        new="if age_s is not None and age_s > age_max_s and not evidence.holds:",
        test=f"{RULES}::test_evidence_ages_and_does_not_come_from_the_future",
    ),
    Canary(
        name="earlier-journal-counts",
        effect="a reconcile from before the last write says equal about what was written since",
        file="reconcile/gate/files.py",
        old="if now not in set(journals_compared(run, folder)):",
        new="if not set(journals_compared(run, folder)):",
        test=f"{GATE}::test_after_a_write_everything_that_a_reconcile_or_a_gate_found_is_stale",
    ),
    Canary(
        name="later-snapshot-ignored",
        effect="go, although changes of the source were sealed and never moved",
        file="reconcile/gate/gate.py",
        old=code(
            1,
            "if later:",
            "    evidence = [replace(one, outdated=later) for one in evidence]",
        ),
        new="",
        test=f"{GATE}::test_a_later_snapshot_makes_every_row_stale",
    ),
    Canary(
        name="nothing-read-back-passes",
        effect="contents pass when no vector was read back",
        file="reconcile/gate/files.py",
        old="if holds and not checked:",
        new="if holds and checked is None:",
        test="tests/reconcile/gate/test_files.py::test_contents_of_which_nothing_was_read_are_unknown",
    ),
    Canary(
        name="wrong-filter-answer-passed-over",
        effect="the Worker's search by file finds too few chunks after the cutover",
        file="reconcile/gate/answers.py",
        old="if not _are_all(of_file, sample.of_file):",
        new="if not of_file:",
        test="tests/reconcile/gate/test_answers.py::test_a_filter_that_finds_too_few_or_others_is_wrong",
    ),
    Canary(
        name="recorded-gate-not-unsealed",
        effect="a record that was edited says go",
        file="reconcile/gate/record.py",
        old="return unseal_json(content, where=str(file), format_version=GATE_FORMAT, "
        "key=run.snapshot.key)",
        new='return __import__("json").loads(content)',
        test=f"{GATE}::test_a_record_that_was_changed_is_not_believed",
    ),
    Canary(
        name="window-without-the-way-back",
        effect="go, although a rollback would end after the window",
        file="reconcile/gate/gate.py",
        old="holds = left >= minutes",
        new="holds = left > 0",
        test=f"{GATE}::test_one_cause_makes_exactly_its_row_fail",
    ),
    Canary(
        name="disk-answers-for-the-target",
        effect="a broken disk looks like a target that cannot be asked",
        file="reconcile/gate/answers.py",
        old=code(
            1,
            "except LocalStorageError:",
            "    raise",
            "except ArtefactDamagedError as error:",
        ),
        new=code(1, "except ArtefactDamagedError as error:"),
        test="tests/reconcile/gate/test_disk.py"
        "::test_a_disk_that_fails_while_the_target_is_asked_stops_the_gate",
    ),
)

OF_THE_MONITOR = (
    Canary(
        name="difference-not-read-again",
        effect="every write of the Worker during a look is an alert",
        file="reconcile/monitor/look.py",
        old="differing = self._still(differing)",
        new="pass",
        test=f"{LOOK}::test_a_few_differences_are_read_again_one_by_one",
    ),
    Canary(
        name="exempt-ids-ignored",
        effect="vectors that were there before the run are orphans for ever",
        file="reconcile/monitor/look.py",
        old="self._table.add_exempt(self._exempt())",
        new="self._table.add_exempt([])",
        test=f"{LOOK}::test_what_was_there_before_the_run_is_no_orphan",
    ),
    Canary(
        name="counter-read-once",
        effect="a write between the listing and the counter is an alert",
        file="reconcile/monitor/look.py",
        old="return min(before, after) <= self.vectors <= max(before, after)",
        new="return self.vectors == after",
        test=f"{LOOK}::test_a_write_between_the_readings_explains_the_counter",
    ),
    Canary(
        name="unread-is-consistent",
        effect="a store that cannot be read counts as a quiet day",
        file="reconcile/monitor/monitor.py",
        old='return ("indeterminate", unread)',
        new='return ("consistent", unread)',
        test=f"{LOOK}::test_a_listing_that_breaks_is_indeterminate_and_kept_in_the_history",
    ),
    Canary(
        name="gap-in-the-week",
        effect="two looks a week apart are a week of observation",
        file="reconcile/monitor/history.py",
        old="if gap_s > GAP_S_MAX:",
        new="if gap_s > GAP_S_MAX * 30:",
        test=f"{HISTORY}::test_a_gap_of_more_than_a_day_is_not_green",
    ),
    Canary(
        name="broken-day-forgotten",
        effect="a week with a day that ended inconsistent is green",
        file="reconcile/monitor/history.py",
        old='one.verdict != "consistent"',
        new='one.verdict == "indeterminate"',
        test=f"{HISTORY}::test_a_day_that_ended_inconsistent_is_not_green",
    ),
)

OF_THE_END = (
    Canary(
        name="allowed-by-prefix",
        effect="reset-target deletes what only looks like a name of the list",
        file="reconcile/reset/left.py",
        old='query = "SELECT vector_id FROM listed WHERE vector_id IN (SELECT unnest($ids)) '
        'ORDER BY 1"',
        new='query = "SELECT DISTINCT vector_id FROM listed, (SELECT unnest($ids) AS name) '
        'WHERE starts_with(vector_id, name) ORDER BY 1"',
        test=f"{RESET}::test_a_name_of_the_list_means_only_itself",
    ),
    Canary(
        name="allowed-without-a-look",
        effect="names that nothing has are counted as deleted",
        file="reconcile/reset/reset.py",
        old="vectors = ids.listed_among(names)",
        new="vectors = [VectorId(name) for name in names]",
        test=f"{RESET}::test_without_execute_nothing_is_written_and_everything_is_counted",
    ),
    Canary(
        name="runs-of-other-targets-undone",
        effect="reset-target undoes runs that wrote elsewhere",
        file="reconcile/reset/reset.py",
        old="if is_here and is_open and find_later_run(run) is None:",
        new="if is_open and find_later_run(run) is None:",
        test=f"{RESET}::test_another_target_is_not_touched",
    ),
    Canary(
        name="archive-of-another-run",
        effect="Qdrant is deleted on the word of another migration's archive",
        file="reconcile/decommission.py",
        old="proven, found = _of_this_run(run, checked)",
        new='proven, found = (checked.record.final, "every byte checked")',
        test=f"{CHECKLIST}::test_one_line_alone_can_be_unproven",
    ),
    Canary(
        name="archive-of-an-earlier-journal",
        effect="the archive lacks the last writes, and Qdrant is deleted",
        file="reconcile/decommission.py",
        old="if kept.get(journal) != run.journal.file.hash()[1]:",
        new="if journal not in kept:",
        test=f"{CHECKLIST}::test_one_line_alone_can_be_unproven",
    ),
    Canary(
        name="looks-of-another-run",
        effect="the quiet week of another migration counts",
        file="reconcile/monitor/history.py",
        old="if found != expected:",
        new="if found[1] != expected[1]:",
        test=f"{LOOK}::test_the_looks_of_another_run_are_not_those_of_this_one",
    ),
    Canary(
        name="deleted-keys-are-left",
        effect="keys that a listing still shows are counted as those of others",
        file="reconcile/reset/reset.py",
        old="doubling(rules.undo.kv_settle_s, times=LISTINGS_MAX - 1),",
        new="doubling(rules.undo.kv_settle_s, times=0),",
        test=f"{RESET}::test_a_listing_that_shows_deleted_keys_for_a_while_is_repeated",
    ),
    Canary(
        name="gate-of-an-earlier-journal",
        effect="a go from before the last write stands in the checklist",
        file="reconcile/gate/record.py",
        old='return record.get("journal_sha256") == run.journal.file.hash()[1]',
        new='return record.get("journal_sha256") is not None',
        test=f"{CHECKLIST}::test_one_line_alone_can_be_unproven",
    ),
    Canary(
        name="states-of-the-chain-are-foreign",
        effect="a rollback of a chain keeps its own writes as those of others",
        file="reconcile/rollback/chain.py",
        old="older=tuple(begun[position + 1 :]),",
        new="older=(),",
        test=f"{CHAIN}::test_stale_pre_images_in_a_chain_still_lead_back_to_the_first_state",
    ),
    Canary(
        name="halves-of-two-states-joined",
        effect="an entry gets an expiration back that it never had with this value",
        file="migrate/upload/removal.py",
        old="return states[0] if shown.expiration in expirations else shown",
        new="return shown",
        test=f"{CHAIN}::test_a_former_state_that_two_reads_show_in_part_is_no_pre_image",
    ),
    Canary(
        name="any-counter-is-explained",
        effect="a counter that something else has changed is passed over",
        file="reconcile/rollback/roll_back.py",
        old="if is_explained and key in report.conflicts:",
        new="if key in report.conflicts:",
        test=f"{BACK}::test_a_counter_that_nothing_explains_is_a_conflict",
    ),
    Canary(
        name="stale-read-keeps-a-removal",
        effect="a vector whose point is gone stays in the index, as one of another writer",
        file="migrate/upload/removal.py",
        old="return [one for one, digest in changed.items() if digest not in known[one]]",
        new="return [one for one, digest in changed.items() if digest or known[one]]",
        test=f"{CHAIN}::test_what_a_stale_read_shows_of_a_vector_to_remove_is_not_another_writers",
    ),
)
