"""Bugs in provisioning: things created unasked, and files of the operator's changed too much."""

from tests.faults.canaries.canary import Canary, code

OF_PROVISIONING = (
    Canary(
        name="created-without-a-question",
        effect="an index and two namespaces appear in the account before anybody has agreed",
        file="q2v/commands/prepare/provision.py",
        old="confirm_name(question, sure=sure or not missing)",
        new="confirm_name(question, sure=True)",
        test="tests/e2e/move/test_provision.py::test_without_a_terminal_it_asks_for_yes",
    ),
    Canary(
        name="previews-share-the-namespace-of-production",
        effect="a preview of the Worker writes the file index of production",
        file="migrate/provision.py",
        old="if namespace is not None and namespace == preview:",
        new="if False:",
        test="tests/migrate/test_provision.py"
        "::test_the_configured_namespace_is_not_the_one_for_previews",
    ),
    Canary(
        name="first-of-two-namespaces",
        effect="of two namespaces with one title the first is taken, which may be another team's",
        file="migrate/cloudflare/kv_namespaces.py",
        old="if len(by_id) > 1:",
        new="if len(by_id) > 2:",
        test="tests/migrate/cloudflare/test_access.py"
        "::test_a_title_that_two_namespaces_have_names_neither",
    ),
    Canary(
        name="edited-meanwhile",
        effect="what the operator saved while q2v asked is overwritten with the former text",
        file="migrate/wrangler/change.py",
        old="if read_file(self.path) != self.before:",
        new="if False:",
        test="tests/migrate/wrangler/test_change.py"
        "::test_a_file_that_changed_since_it_was_read_is_not_written",
    ),
    Canary(
        name="two-line-ends-in-one-file",
        effect="a file with CR LF gets lines with LF, and every later diff shows the whole file",
        file="migrate/wrangler/splices.py",
        old="return '\\r\\n' if first > 0 and text[first - 1] == '\\r' else '\\n'",
        new="return '\\n'",
        test="tests/migrate/wrangler/test_merge.py"
        "::test_line_ends_and_the_byte_order_mark_are_kept",
    ),
    Canary(
        name="comment-of-the-next-section",
        effect="a new table comes between a comment and the section that it is about",
        file="migrate/wrangler/toml_document.py",
        old=code(3, "if not line.startswith('#'):", "    return end"),
        new=code(3, "if not line.startswith('#'):", "    break"),
        test="tests/migrate/wrangler/test_merge.py"
        "::test_comments_right_above_a_section_stay_with_it",
    ),
)
