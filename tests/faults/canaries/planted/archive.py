"""Planted bugs in what an archive is checked for, and in when it gets its name."""

from tests.faults.canaries.canary import Canary, code

TESTS = "tests/migrate/archive"

OF_THE_ARCHIVE = (
    Canary(
        name="archive-end-not-compared",
        effect="a flipped bit that unpacks to the same bytes is never found",
        file="migrate/archive/frames.py",
        old="if found == expected:",
        new="if found[:8] == expected[:8] and len(found) == len(expected):",
        test=f"{TESTS}/test_verify.py::test_no_flipped_bit_passes",
    ),
    Canary(
        name="member-not-hashed",
        effect="a report that was changed in the archive counts as evidence",
        file="migrate/archive/open.py",
        old="if stream.hash_content(member.path, member.bytes) != member.sha256:",
        new="if not stream.hash_content(member.path, member.bytes):",
        test=f"{TESTS}/test_verify.py::test_the_damaged_member_is_named",
    ),
    Canary(
        name="header-read-over",
        effect="a link takes the place of an empty file, and tar follows it",
        file="migrate/archive/open.py",
        old='if b"".join(self._pieces(member, len(content))) != content:',
        new='if len(b"".join(self._pieces(member, len(content)))) != len(content):',
        test=f"{TESTS}/test_verify.py::test_links_and_devices_are_refused",
    ),
    Canary(
        name="member-after-the-end",
        effect="data that no list names is carried along",
        file="migrate/archive/open.py",
        old="if rest:",
        new="if rest < 0:",
        test=f"{TESTS}/test_verify.py"
        "::test_a_path_that_leads_elsewhere_is_refused_in_the_list_and_as_a_member",
    ),
    Canary(
        name="any-path-is-fit",
        effect="a list may name files outside of the folder of the archive",
        file="migrate/archive/record.py",
        old='if not is_fit_path(f"{record.folder}/{path}"):',
        new="if not path:",
        test=f"{TESTS}/test_verify.py"
        "::test_a_path_that_leads_elsewhere_is_refused_in_the_list_and_as_a_member",
    ),
    Canary(
        name="final-is-believed",
        effect="an archive says final of a run that was never compared",
        file="migrate/archive/verify.py",
        old="obstacle = find_obstacle(run) if record.final else None",
        new="obstacle = None",
        test=f"{TESTS}/test_verify.py::test_final_is_not_believed_unless_it_follows_from_the_files",
    ),
    Canary(
        name="old-verdict-is-final",
        effect="a run that was written to after it was equal is archived as final",
        file="migrate/archive/standing.py",
        old="if folder is None or not _is_current(run, folder):",
        new="if folder is None:",
        test=f"{TESTS}/test_write.py::test_a_run_that_is_not_final_needs_consent_and_says_why",
    ),
    Canary(
        name="final-of-one-index",
        effect="an archive is final although a run into another vector index is missing",
        file="migrate/archive/standing.py",
        old="        if index == shards.own:",
        new="        if index:",
        test="tests/e2e/several_indexes/test_advice.py"
        "::test_an_archive_is_final_when_the_runs_into_all_indexes_are",
    ),
    Canary(
        name="replaced-points-unchecked",
        effect="a damaged point that a catch-up replaced is found when it is needed",
        file="migrate/snapshot/sealed/verify.py",
        old="own = _recomputed(link, link.read_own(with_vectors=names), progress)",
        new="own = iter(link.read_own(with_vectors=names))",
        test=f"{TESTS}/test_check.py"
        "::test_each_point_is_compared_with_its_digest_those_that_a_difference_replaces_too",
    ),
    Canary(
        name="named-before-it-is-checked",
        effect="a kill during the check leaves an archive that was never read back",
        file="migrate/storage/durable.py",
        old=code(3, "if check is not None:", "    check(temporary)"),
        new=code(
            3,
            "if check is not None:",
            "    disk().replace(temporary, path)",
            "    check(path)",
            "    return",
        ),
        test=f"{TESTS}/test_write.py"
        "::test_what_the_disk_gives_back_is_compared_before_the_file_gets_its_name",
    ),
    Canary(
        name="room-not-looked-for",
        effect="the disk is full after the first half hour",
        file="migrate/archive/write.py",
        old="if room is not None and needed > room:",
        new="if room is not None and needed > room * 1000000:",
        test=f"{TESTS}/test_write.py::test_too_small_a_disk_is_found_before_anything_is_written",
    ),
    Canary(
        name="stop-file-archived",
        effect="the run of an unpacked archive stops before its first write",
        file="migrate/archive/members.py",
        old='if member.path != f"{place}/{STOP}":',
        new="if member.path:",
        test=f"{TESTS}/test_write.py"
        "::test_locks_budgets_scratch_crash_logs_and_unfinished_files_are_not_in_it",
    ),
)
