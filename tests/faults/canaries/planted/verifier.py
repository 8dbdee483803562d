"""Bugs in what q2v believes of a verifier, each of which a verifier that lies would use."""

from tests.faults.canaries.canary import Canary, code

OF_THE_VERIFIER = (
    Canary(
        name="equal-believed-unread",
        effect="a Worker that reads nothing passes every vector as equal",
        file="migrate/cloudflare/verifier/protocol.py",
        old=code(1, 'if record.get("digest") != digest.hexdigest():'),
        new=code(1, 'if not record.get("digest"):'),
        test="tests/reconcile/verifier/test_lies.py"
        "::test_equal_is_not_believed_of_one_that_did_not_read",
    ),
    Canary(
        name="old-answer-believed",
        effect="a cache before the Worker answers equal for a target that has changed since",
        file="migrate/cloudflare/verifier/judging.py",
        old=code(1, "if key.fits(answer_text(request_signature, status, body), given):"),
        new=code(1, "if given is not None:"),
        test="tests/reconcile/verifier/test_lies.py::test_an_old_answer_is_not_believed",
    ),
    Canary(
        name="left-out-vectors-believed",
        effect="vectors that a Worker leaves out or calls missing are never read",
        file="reconcile/scan/by_verifier.py",
        old=code(1, "for vector_id in found.missing | found.unreadable:"),
        new=code(1, "for vector_id in found.unreadable:"),
        test="tests/reconcile/verifier/test_lies.py::test_what_is_called_missing_is_read_over_rest",
    ),
    Canary(
        name="another-index-believed",
        effect="a verifier that is bound to a copy of the index proves the copy",
        file="reconcile/scan/by_verifier.py",
        old=code(1, "if theirs is None or theirs != ours:"),
        new=code(1, "if theirs is None:"),
        test="tests/reconcile/verifier/test_lies.py"
        "::test_a_verifier_that_reads_another_index_is_named",
    ),
)
