"""Pickled points are decoded by their instructions; nothing that a pickle names is looked up."""

import io
import os
import pickle
import pickletools
import subprocess
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models
from typing_extensions import override

from migrate.qdrant.folder.local_mode.pickled import Instance, NotAPointError, decode_pickled
from tests.harness.tiers import examples

pytestmark = pytest.mark.fault("M24", "X05")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**2000), 2**2000)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.text(min_size=300, max_size=400)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5)
        | st.lists(st.floats(allow_nan=False), max_size=30)
    ),
    max_leaves=30,
)


@given(value=VALUES, protocol=st.sampled_from([4, 5]))
@settings(max_examples=examples(150), deadline=None)
def test_values_come_back_as_they_were_pickled(value: object, protocol: int) -> None:
    assert repr(value) == repr(decode_pickled(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("count", [1, 7, 999, 1000, 1001, 3072])
def test_lists_of_floats_of_any_length_come_back(count: int) -> None:
    values = {"a": [number / 7 for number in range(count)], "b": [1.5, 2, None, 2.5] * count}

    assert values == decode_pickled(pickle.dumps(values, 4))


def test_a_point_of_the_client_comes_back_by_its_fields() -> None:
    sparse = models.SparseVector(indices=[1, 7], values=[0.5, 0.25])
    point = models.PointStruct(id=7, vector={"a": [1.0, 2.0], "s": sparse}, payload={"n": [1]})

    found = decode_pickled(pickle.dumps(point, 4))

    assert isinstance(found, Instance)
    assert (found.kind, found.fields["id"], found.fields["payload"]) == (
        "PointStruct",
        7,
        {"n": [1]},
    )
    vector = found.fields["vector"]
    assert isinstance(vector, dict)
    assert vector["a"] == [1.0, 2.0]
    assert vector["s"] == Instance("SparseVector", {"indices": [1, 7], "values": [0.5, 0.25]})


class Calls:
    """Runs a command when it is unpickled."""

    def __init__(self, command: object, *arguments: object) -> None:
        self._called = command, arguments

    @override
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._called


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("command", [os.system, subprocess.Popen, eval, exec], ids=str)
def test_no_pickle_runs_a_command(tmp_path: Path, command: object, protocol: int) -> None:
    """Each would write a file, were it unpickled."""
    target = tmp_path / "written"
    words = f"open({str(target)!r}, 'w')" if command in {eval, exec} else f"touch {target}"
    more = () if command is not subprocess.Popen else (-1, None, None, None, None, None, True, True)
    attack = {"n": [1, Calls(command, words, *more)]}

    with pytest.raises(NotAPointError):
        decode_pickled(pickle.dumps(attack, protocol))

    assert not target.exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (datetime(2026, 11, 30, tzinfo=UTC), "it wants datetime.datetime, which is no part"),
        (OrderedDict(a=1), "it wants collections.OrderedDict"),
        (models.Distance.COSINE, "it wants qdrant_client.http.models.models.Distance"),
        (models.PointStruct, None),
        (b"bytes", "instruction 0x43"),
        ((1, 2), "instruction 0x86"),
        (1j, "it wants builtins.complex"),
        (2**3000, "instruction 0x8b"),
    ],
)
def test_what_no_point_holds_is_refused_by_name(value: object, said: str | None) -> None:
    if said is None:  # a class alone is no value: the source refuses it as no point
        assert not isinstance(decode_pickled(pickle.dumps(value, 4)), Instance)
        return
    with pytest.raises(NotAPointError, match=said):
        decode_pickled(pickle.dumps(value, 4))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_older_protocols_are_refused(protocol: int) -> None:
    with pytest.raises(NotAPointError):
        decode_pickled(pickle.dumps({"a": 1}, protocol))


def test_a_value_in_itself_and_one_that_grows_without_end_are_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    grown: list[object] = [1.0]
    for _ in range(60):
        grown = [grown, grown]

    for value in (loop, {"a": loop}, grown):
        with pytest.raises(NotAPointError, match="a container that is in itself, or many times"):
            decode_pickled(pickle.dumps(value, 4))


def test_a_container_that_is_used_twice_is_read_twice() -> None:
    tags = ["x", "y"]

    assert {"a": tags, "b": tags} == decode_pickled(pickle.dumps({"a": tags, "b": tags}, 4))


POINT = pickle.dumps(
    models.PointStruct(id=7, vector={"a": [1.0, 2.0, 3.0]}, payload={"n": [1, "x", None]}), 4
)


@given(length=st.integers(0, len(POINT) - 1))
@settings(max_examples=examples(60), deadline=None)
def test_a_cut_pickle_is_refused(length: int) -> None:
    with pytest.raises(NotAPointError):
        decode_pickled(POINT[:length])


@given(changes=st.lists(st.tuples(st.integers(0, len(POINT) - 1), st.integers(0, 255)), min_size=1))
@settings(max_examples=examples(300), deadline=None)
def test_any_other_bytes_are_decoded_or_refused_and_nothing_else(
    changes: list[tuple[int, int]],
) -> None:
    damaged = bytearray(POINT)
    for position, byte in changes:
        damaged[position] = byte
    with suppress(NotAPointError):
        decode_pickled(bytes(damaged))


def test_the_instructions_are_those_of_pickle() -> None:
    """What the machine reads, pickletools reads too: an independent reading of one point."""
    listing = io.StringIO()
    pickletools.dis(POINT, listing)

    assert "qdrant_client.http.models.models" in listing.getvalue()
    assert "REDUCE" not in listing.getvalue()
