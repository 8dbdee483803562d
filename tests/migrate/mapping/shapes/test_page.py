"""docs/shapes.md shows the table of the code, and the releases that the tests run."""

import json
import re

import pytest

from migrate.mapping.shapes.known import SHAPES
from tests.harness.running.node import WORKER
from tests.harness.running.workspace import REPOSITORY

PAGE = (REPOSITORY / "docs" / "shapes.md").read_text(encoding="utf-8")
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
ROWS = {
    cells[1].strip(" `"): cells[1:]
    for line in PAGE.partition("| shape | written by |")[2].partition("\n\n")[0].splitlines()
    if (cells := line.split("|"))[1:] and cells[1].strip().startswith("`")
}


def test_the_page_has_the_shapes_in_the_order_in_which_they_are_recognised() -> None:
    assert list(ROWS) == list(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_names_the_fields_of_its_shape(name: str) -> None:
    _, _, marks, file, order, *_ = ROWS[name]
    shape = SHAPES[name]

    named = re.findall(r"`([^`]+)`", marks)
    inner = [f"metadata{one}" if one.startswith(".") else one for one in named]
    assert [mark.field for mark in shape.marks] == inner
    assert list(shape.group.fields) == re.findall(r"`([^`]+)`", file)
    assert list(shape.order.fields) == re.findall(r"`([^`]+)`", order)


def releases() -> dict[str, str]:
    """Package -> the release that is locked."""
    names = ("langchain-qdrant", "llama-index-vector-stores-qdrant", "qdrant-haystack")
    found = re.findall(rf"^({'|'.join(names)})==(\S+)", LOCK, re.MULTILINE)
    packages = json.loads((WORKER / "package.json").read_text(encoding="utf-8"))
    script = "@langchain/qdrant"
    return {**dict(found), script: packages["devDependencies"][script]}


def test_the_page_names_the_releases_whose_points_the_tests_move() -> None:
    """After `make lock` the page has to be renewed: has a shape changed?"""
    locked = releases()

    assert len(locked) == 4
    assert [
        f"{name} {release}" for name, release in locked.items() if f"{name} {release}" not in PAGE
    ] == []
