"""The mapping for a shape is chosen by what every point holds."""

from typing import Any

import pytest

from migrate.mapping.agreement import check_agreement
from migrate.mapping.payload import Mapped, map_payload
from migrate.mapping.shapes.known import SHAPES
from migrate.mapping.shapes.proposal import Proposal, propose
from tests.migrate.mapping.shapes.written import CHOSEN, WRITERS, langchain, sample, sample_of


def keys(proposal: Proposal) -> tuple[str, str, str]:
    return proposal.group_key, proposal.order_key, proposal.hash_key


@pytest.mark.fault("M30")
@pytest.mark.parametrize("name", WRITERS)
def test_what_a_writer_wrote_moves_without_a_point_left_out(name: str) -> None:
    points = sample_of(name)

    proposal = propose(SHAPES[name], points)

    *chosen, indexed = CHOSEN[name]
    assert keys(proposal) == tuple(chosen)
    assert proposal.metadata_indexes == tuple(f"{one}:string" for one in indexed)
    assert (proposal.points, proposal.left_out) == (9, {})
    mapped = [map_payload(one.id, one.payload, proposal.rules()) for one in points]
    assert all(isinstance(one, Mapped) for one in mapped)


@pytest.mark.fault("M30")
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_rules_that_work_together(name: str) -> None:
    """Without points too: then the fields are those that the writer always writes."""
    for proposal in (propose(SHAPES[name], []), propose(SHAPES[name], sample({"a": 1}))):
        check_agreement(proposal.rules().by_setting, {})
        assert len(proposal.metadata_indexes) == len(set(proposal.metadata_indexes)) <= 10

    assert propose(SHAPES[name], []).reasons == ()


@pytest.mark.fault("M31")
def test_a_field_that_one_point_lacks_is_not_chosen_and_the_reason_counts() -> None:
    payloads = [langchain(number) for number in range(4)]
    del payloads[2]["metadata"]["start_index"]

    proposal = propose(SHAPES["langchain"], sample(*payloads))

    assert keys(proposal) == ("metadata.source", "", "")
    assert proposal.reasons == (
        'group_key = "metadata.source": a text in all of 4 points, 3 different',
        'order_key = "": metadata.start_index is a whole number in 3 of 4 points',
    )


@pytest.mark.fault("M31")
@pytest.mark.parametrize(
    ("shape", "payload", "second"),
    [
        ("n8n", {"content": "a", "metadata": {"source": "blob"}}, "metadata.source"),
        ("llamaindex", {"_node_content": "{}", "_node_type": "T", "doc_id": "None"}, "doc_id"),
    ],
)
def test_a_placeholder_names_no_file(shape: str, payload: dict[str, Any], second: str) -> None:
    """Every vector would be in one file. Beside a real name it is a file of its own."""
    proposal = propose(SHAPES[shape], sample(payload, payload))

    assert proposal.group_key == ""
    assert proposal.metadata_indexes == ()
    assert "does not count" in proposal.reasons[0]
    real = {**payload, "doc_id": "a", "metadata": {"source": "a.pdf"}}
    assert propose(SHAPES[shape], sample(payload, real)).group_key == second


@pytest.mark.fault("M31")
def test_points_that_would_be_left_out_are_counted_by_their_reason() -> None:
    payloads = [langchain(number) for number in range(5)]
    payloads[1]["metadata"]["source"] = "book/a name with blanks.md"
    payloads[3]["page_content"] = "x" * 11_000
    payloads[4]["page_content"] = "x" * 11_000

    proposal = propose(SHAPES["langchain"], sample(*payloads))

    assert proposal.left_out == {"metadata_too_large": 2, "kv_key": 1}


def test_a_filter_on_a_field_that_no_point_has_gets_no_metadata_index() -> None:
    """A plan refuses one that finds nothing. Collections of old releases have no group_id."""
    payloads = [WRITERS["dify"](number) for number in range(3)]
    for payload in payloads:
        del payload["group_id"]

    proposal = propose(SHAPES["dify"], sample(*payloads))

    assert "group_id:string" not in proposal.metadata_indexes
    assert "metadata.doc_id:string" in proposal.metadata_indexes
