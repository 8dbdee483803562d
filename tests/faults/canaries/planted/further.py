"""Further bugs: of the disk, the way back, the comparison, and what must not get out."""

from tests.faults.canaries.canary import Canary, code

TESTS = "tests/migrate"

OF_THE_DISK = (
    Canary(
        name="no-file-fsync",
        effect="a power cut leaves the name of a sealed file and nothing in it",
        file="migrate/storage/durable.py",
        old=code(4, "disk().sync(raw)"),
        new="",
        test="tests/migrate/storage/test_power_cut.py"
        "::test_a_written_file_outlives_a_power_cut_with_name_and_content",
    ),
    Canary(
        name="no-journal-fsync",
        effect="a power cut forgets what was sent: rollback leaves those vectors in the index",
        file="migrate/storage/local_folder.py",
        old=code(3, "disk().sync(file)"),
        new="",
        test="tests/migrate/storage/test_power_cut.py::test_every_appended_entry_outlives_a_power_cut",
    ),
    Canary(
        name="torn-tail-kept",
        effect="after a cut write the next entry continues half a line: the run is lost",
        file="migrate/storage/local_folder.py",
        old=code(3, "disk().truncate(self._file, self._size)  # drops a torn tail"),
        new="",
        test="tests/migrate/storage/test_journal_file.py"
        "::test_appending_after_a_torn_tail_goes_on_as_if_it_had_never_been",
    ),
    Canary(
        name="exchanged-part-believed",
        effect="a sound part of another snapshot is moved in place of the right one",
        file="migrate/snapshot/parts.py",
        old="if size != part.bytes or (check_bytes and hash_open_file(file)[1] != part.sha256):",
        new="if size != part.bytes:",
        test="tests/migrate/snapshot/test_parts.py"
        "::test_another_sound_part_of_the_same_size_is_found",
    ),
    Canary(
        name="link-followed",
        effect="whoever may plant a link has q2v append to any file of its user",
        file="migrate/storage/disk.py",
        old="(0 if follow_links else os.O_NOFOLLOW)",
        new="(0 if follow_links or flags & os.O_WRONLY else os.O_NOFOLLOW)",
        test="tests/migrate/storage/test_planted_links.py::test_a_linked_journal_or_lock_is_refused",
    ),
    Canary(
        name="two-workers-at-once",
        effect="a second q2v works in the same folder and both append to one journal",
        file="migrate/storage/disk.py",
        old="kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX",
        new="kind = fcntl.LOCK_SH",
        test="tests/migrate/storage/test_durable.py"
        "::test_a_second_worker_is_refused_at_once_and_told_who_holds_the_lock",
    ),
    Canary(
        name="budget-forgets-at-restart",
        effect="each start sends a full budget at once: the whole account is blocked",
        file="migrate/cloudflare/budget/database.py",
        old="if not is_file(path):",
        new="if True:",
        test="tests/migrate/cloudflare/budget/test_budget.py"
        "::test_a_block_stops_every_process_and_survives_a_restart",
    ),
)

OF_THE_MOVE = (
    Canary(
        name="second-reading-compares-ids-only",
        effect="points that changed while they were read are sealed with their former content",
        file="migrate/snapshot/ranges.py",
        old="for text, digest in found.items() if written.get(text) != digest",
        new="for text in found if text not in written",
        test="tests/migrate/snapshot/test_take.py"
        "::test_points_that_change_during_the_snapshot_are_found",
    ),
    Canary(
        name="first-of-different-points-moves",
        effect="of two points with one target id one is lost, and the counts still add up",
        file="migrate/tables/plan_ids.py",
        old="min(content) = max(content) AS identical",
        new="count(*) > 1 AS identical",
        test="tests/migrate/plan/test_make.py::test_of_different_points_with_one_id_none_moves",
    ),
    Canary(
        name="in-doubt-taken-for-sent",
        effect="an upload that a kill cut off is never sent: its vectors are missing",
        file="migrate/upload/sending.py",
        old=code(3, "if record.in_doubt:", "    self._send_again(record)"),
        new=code(3, "self._runtime.progress.advance(record.end - record.first)"),
        test="tests/migrate/upload/test_write_order.py"
        "::test_only_what_the_target_has_taken_is_acknowledged",
    ),
    Canary(
        name="only-the-last-ack-is-proven",
        effect="of uploads in flight together the one accepted last may never be processed",
        file="migrate/upload/upload.py",
        old="certain = max(0, len(batches) - UPLOADS_IN_FLIGHT_MAX)",
        new="certain = len(batches) - 1",
        test="tests/migrate/upload/test_several_workers.py"
        "::test_one_vector_of_each_upload_that_may_have_been_in_flight_last_is_read_back",
    ),
    Canary(
        name="kv-before-vectors",
        effect="the file index names vectors that no query finds yet",
        file="migrate/upload/upload.py",
        old="evidence = _settle(run, target, rules, runtime)",
        new='evidence = f"accepted by {target.identity()}, {rules}, {runtime}"',
        test="tests/migrate/upload/test_write_order.py"
        "::test_no_kv_entry_is_written_before_the_vectors_read_back",
    ),
    Canary(
        name="kv-order-lost",
        effect="the chunks of a file are put together in the order of their ids: 10 before 2",
        file="migrate/tables/files.py",
        old="ORDER BY file, position, vector_id",
        new="ORDER BY file, vector_id",
        test="tests/migrate/tables/test_plan_ids.py::test_a_file_of_fifty_thousand_chunks",
    ),
    Canary(
        name="redirect-followed",
        effect="a redirect takes the upload to another host",
        file="migrate/cloudflare/client/wire.py",
        old="follow_redirects=False,",
        new="follow_redirects=True,",
        test="tests/migrate/cloudflare/client/test_client.py::test_a_redirect_is_never_followed",
    ),
    Canary(
        name="secret-not-registered",
        effect="nobody knows the token as a secret: tracebacks and logs show it",
        file="q2v/secret_files.py",
        old="masker.register(text.strip())",
        new="assert masker is not None",
        test="tests/q2v/settings/test_secret.py"
        "::test_a_secret_from_the_environment_is_found_then_read_and_masked",
    ),
    Canary(
        name="account-in-messages",
        effect="an error text that goes into a ticket names the account",
        file="migrate/cloudflare/client/client.py",
        old="self._errors = AnswerErrors((account.token, account.account_id))",
        new="self._errors = AnswerErrors((account.token,))",
        test="tests/migrate/cloudflare/client/test_client.py::test_neither_token_nor_account_gets_into_a_message",
    ),
)

OF_THE_PROOF = (
    Canary(
        name="kv-compared-by-length",
        effect="a file whose entry lists the vectors of another one passes for equal",
        file="reconcile/differences.py",
        old="if expected.value != found.value:",
        new="if len(expected.value) != len(found.value):",
        test="tests/reconcile/test_exactness.py::test_swapped_and_traded_kv_values_are_both_found",
    ),
    Canary(
        name="unread-is-equal",
        effect="a KV namespace that could not be read to its end passes the proof",
        file="reconcile/compare.py",
        old=code(1, "if findings.unread is not None:"),
        new=code(1, "if findings.unread is not None and findings.contents is None:"),
        test="tests/reconcile/scan/test_unread.py"
        "::test_a_target_that_fails_at_any_call_is_indeterminate_and_the_report_says_what_is_unread",
    ),
    Canary(
        name="first-look-counts",
        effect="one stale read is reported as drift, and the cutover is called off",
        file="reconcile/scan/vectors.py",
        old=code(0, "PASSES_MAX = 4  # reads of a difference before it is reported"),
        new=code(0, "PASSES_MAX = 1"),
        test="tests/reconcile/scan/test_unread.py"
        "::test_a_vector_that_shows_its_former_content_at_first_is_no_drift",
    ),
)

OF_THE_WAY_BACK = (
    Canary(
        name="rollback-deletes-what-was-there",
        effect="a rollback removes vectors that the run had overwritten",
        file="reconcile/rollback/vectors.py",
        old=code(2, "if record.former is None:", "    self._deletes.append(record.vector_id)"),
        new=code(2, "if record:", "    self._deletes.append(record.vector_id)"),
        test="tests/migrate/upload/test_refused_uploads.py"
        "::test_what_an_id_held_before_its_refusal_stays_and_counts",
    ),
    Canary(
        name="rollback-overwrites-others",
        effect="a rollback throws away what the new side wrote since the move",
        file="reconcile/rollback/vectors.py",
        old="return digest not in {ours, former} and",
        new="return digest not in {ours, former} and bool(found.namespace) and",
        test="tests/e2e/after/test_drift_and_way_back.py"
        "::test_what_somebody_else_changed_since_is_kept_and_listed",
    ),
    Canary(
        name="later-writes-ignored",
        effect="a rollback leaves later writes in the target without naming them",
        file="reconcile/rollback/later/find.py",
        old="added = [one for one in listed.elsewhere() if one not in existing]",
        new="added = [one for one in listed.elsewhere() if one in existing]",
        test="tests/reconcile/rollback/test_way_back.py"
        "::test_later_writes_are_named_before_anything_is_sent_and_want_consent",
    ),
    Canary(
        name="changed-vectors-not-exported",
        effect="what the new side changed in place is in no export, and is called complete",
        file="reconcile/rollback/later/reading.py",
        old="if vector is None or not self._known.has(vector, one.digest):",
        new="if vector is None:",
        test="tests/reconcile/rollback/test_later_writes.py"
        "::test_an_export_holds_what_others_added_changed_and_deleted",
    ),
    Canary(
        name="any-export-is-consent",
        effect="what was written after the export is neither in Qdrant nor named",
        file="reconcile/rollback/consent.py",
        old=code(2, "if newer:"),
        new=code(2, "if newer and leave:"),
        test="tests/reconcile/rollback/test_later_writes.py"
        "::test_an_export_that_nothing_is_left_of_is_followed_by_an_empty_one",
    ),
    Canary(
        name="deleted-files-embedded-again",
        effect="the sync service brings back files that were deleted on the new side",
        file="reconcile/rollback/later/files_to_embed.py",
        old="if self.vectors.keys() == {DELETED}:",
        new="if self.vectors.keys() == {DELETED} and returns:",
        test="tests/e2e/after/test_going_back.py"
        "::test_shortened_vectors_do_not_return_and_their_files_are_listed",
    ),
)

FURTHER = (*OF_THE_DISK, *OF_THE_MOVE, *OF_THE_PROOF, *OF_THE_WAY_BACK)
