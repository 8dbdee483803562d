"""The bugs that the fault matrix names: no release goes out while one of them passes unseen."""

from tests.faults.canaries.canary import Canary, code

TESTS = "tests/migrate"
SEND_ONCE = '"""Send once and journal the answer; False when the target refused these bytes."""'

NAMED = (
    Canary(
        name="ack-before-answer",
        effect="a kill between ack and answer: vectors that never arrived count as moved",
        file="migrate/upload/sending.py",
        old=code(2, SEND_ONCE, "try:", "    accepted = worker.send()"),
        new=code(
            2,
            SEND_ONCE,
            "try:",
            "    answer = {'mutation_id': None, 'server_date': None}",
            "    self._run.journal.append({**self._entry(Kind.ACK, ordinal), **answer})",
            "    worker.send()",
            "    return True",
        ),
        test="tests/migrate/upload/test_write_order.py"
        "::test_only_what_the_target_has_taken_is_acknowledged",
    ),
    Canary(
        name="no-directory-fsync",
        effect="a power cut takes a file back that was reported as sealed",
        file="migrate/storage/durable.py",
        old=code(3, "disk().sync_folder(path.parent)"),
        new="",
        test="tests/migrate/storage/test_power_cut.py"
        "::test_a_written_file_outlives_a_power_cut_with_name_and_content",
    ),
    Canary(
        name="skip-last-page",
        effect="the last points of the collection are not copied: a short page passes for the end",
        file="migrate/snapshot/walk.py",
        old="if not len(page):",
        new="if len(page) < asked:",
        test="tests/migrate/snapshot/test_walk.py::test_every_point_between_start_and_stop_is_seen_once",
    ),
    Canary(
        name="increment-counter",
        effect="the counter adds to what it finds: it is wrong after every repetition",
        file="migrate/upload/kv_index.py",
        old=code(2, "last = iter([[encode_counter_entry(counter, run.plan.writes)]])"),
        new=code(
            2,
            "held = target.read([run.plan.writes.counter_key]).values()",
            "total = sum(int(entry.value) for entry in held) + run.plan.vectors",
            "last = iter([[encode_counter_entry(total, run.plan.writes)]])",
        ),
        test="tests/reconcile/test_exactness.py"
        "::test_what_was_there_before_is_no_drift_and_what_came_since_is",
    ),
    Canary(
        name="success-false-accepted",
        effect="HTTP 200 with success: false counts as taken: an upload is lost without a word",
        file="migrate/cloudflare/client/verdict.py",
        old="if envelope is not None and envelope.success is True and not envelope.errors:",
        new="if envelope is not None and envelope.success is not None and not envelope.errors:",
        test="tests/migrate/cloudflare/client/test_verdict.py::test_codes_decide_before_statuses",
    ),
    Canary(
        name="wait-by-equality",
        effect="the watermark jumps past ours and the run waits until its time limit",
        file="migrate/upload/settle.py",
        old=code(
            2,
            "passed = _watermark_passed(target.read_progress(), last)",
            "if passed or polls % READ_BACK_EVERY_POLLS == 0:",
        ),
        new=code(
            2,
            "passed = target.read_progress().processed_mutation == last.mutation_id",
            "if passed:",
        ),
        test="tests/migrate/upload/test_settle.py"
        "::test_a_later_watermark_of_the_service_counts_and_no_other",
    ),
    Canary(
        name="retry-401",
        effect="a wrong token is sent again and again until the account is blocked",
        file="migrate/cloudflare/client/verdict.py",
        old="return AccessDenied(head.status, found.code, found.message)",
        new='return Retry(f"HTTP {head.status}", None)',
        test="tests/migrate/cloudflare/client/test_client.py"
        "::test_a_token_that_is_not_taken_stops_at_once_and_names_the_permission",
    ),
    Canary(
        name="bisect-on-5xx",
        effect="a failing server is taken for bad vectors: an outage becomes a quarantine",
        file="migrate/cloudflare/client/codes.py",
        old="if status not in CONTENT_STATUSES or code in OTHER_CODES:",
        new="if (status not in CONTENT_STATUSES and status < 500) or code in OTHER_CODES:",
        test="tests/migrate/upload/test_refused_uploads.py"
        "::test_a_refusal_that_no_smaller_upload_would_mend_stops_the_run",
    ),
    Canary(
        name="truncate-id-by-characters",
        effect="long ids are cut: beyond ASCII still too long, and two files share one id",
        file="migrate/mapping/payload.py",
        old=code(1, "size = len(text.encode())"),
        new=code(1, "text = text[:VECTOR_ID_BYTES_MAX]", "size = len(text)"),
        test="tests/migrate/mapping/test_payload.py"
        "::test_an_id_of_64_bytes_passes_and_one_more_character_does_not",
    ),
    Canary(
        name="ignore-unsuccessful-keys",
        effect="files whose KV entry was refused inside a 200 are missing from the index",
        file="migrate/cloudflare/kv_answers.py",
        old=code(
            1,
            "if succeeded + len(failed) != len(sent):",
            "    return list(sent)",
            "return [key for key in sent if key in failed]",
        ),
        new=code(1, "assert succeeded <= len(sent)", "return []"),
        test="tests/migrate/cloudflare/test_kv.py::test_a_success_is_never_assumed",
    ),
    Canary(
        name="sum-only-hash",
        effect="values that changed places within a vector pass for equal",
        file="migrate/model/digest.py",
        old="plain[position].tobytes()",
        new="plain[position].sum().tobytes()",
        test="tests/migrate/model/test_digest.py"
        "::test_values_that_change_places_show_although_their_sum_stays",
    ),
    Canary(
        name="mask-only-one-header",
        effect="the token is masked in logs, the source's key in the next header is not",
        file="q2v/output/logs.py",
        old="for pattern in tuple(self._patterns.values()):",
        new="for pattern in tuple(self._patterns.values())[:1]:",
        test="tests/q2v/output/test_logs.py::test_every_header_of_a_debug_log_is_masked",
    ),
    Canary(
        name="sampled-shown-as-full",
        effect="a report of a sample claims that every content was compared",
        file="reconcile/compare.py",
        old='contents="full" if full else "sampled",',
        new='contents="full",',
        test="tests/reconcile/scan/test_unread.py::test_a_sample_never_calls_itself_full",
    ),
)
