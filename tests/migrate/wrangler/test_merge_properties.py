"""Merging keeps every byte that is not the target's, in files of every form."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import PreconditionError, UsageError
from migrate.wrangler.bindings import Bindings
from migrate.wrangler.merge import merge_bindings
from tests.migrate.wrangler.configurations import (
    ENVIRONMENTS,
    OTHERS,
    SEVERAL,
    WANTED,
    files,
    jsonc_comments,
    jsonc_values,
    merged_values,
    toml_comments,
    toml_values,
)

pytestmark = pytest.mark.fault("V01")
BOM = b"\xef\xbb\xbf"
SCOPES = st.sampled_from([None, *ENVIRONMENTS])
READERS: dict[str, tuple[Callable[[str], Any], Callable[[str], list[str]]]] = {
    "wrangler.toml": (toml_values, toml_comments),
    "wrangler.jsonc": (jsonc_values, jsonc_comments),
}


@settings(deadline=None)
@given(files, SCOPES, st.booleans(), st.sampled_from([WANTED, SEVERAL]))
def test_only_the_entries_change(
    named: tuple[str, str], env: str | None, marked: bool, bindings: Bindings
) -> None:
    """By readers that are not the merge's own; comments keep their order and their words."""
    file, before = named
    mark = BOM if marked else b""
    values, comments = READERS[file]

    content = merge_bindings(mark + before.encode(), bindings, file=file, env=env)

    assert content.startswith(mark)
    after = content[len(mark) :].decode()
    assert merged_values(values(before), bindings, env) == values(after)
    assert comments(before) == comments(after)


@settings(deadline=None)
@given(files, SCOPES)
def test_the_bindings_of_several_indexes_are_added_once(
    named: tuple[str, str], env: str | None
) -> None:
    file, before = named
    first = merge_bindings(before.encode(), SEVERAL, file=file, env=env)

    assert merge_bindings(first, SEVERAL, file=file, env=env) == first
    if not has_entries(READERS[file][0](before), env, SEVERAL):
        assert is_subsequence(before, first.decode()), "something was removed"


@settings(deadline=None)
@given(files, SCOPES)
def test_what_is_there_stays_in_its_order(named: tuple[str, str], env: str | None) -> None:
    """Going back to the former values gives the file of the first merge, byte for byte."""
    file, before = named
    first = merge_bindings(before.encode(), OTHERS, file=file, env=env)
    second = merge_bindings(first, WANTED, file=file, env=env)

    assert merge_bindings(second, OTHERS, file=file, env=env) == first
    assert merge_bindings(second, WANTED, file=file, env=env) == second
    if not has_entries(READERS[file][0](before), env):
        assert is_subsequence(before, first.decode()), "something was removed"


def has_entries(values: dict[str, Any], env: str | None, bindings: Bindings = WANTED) -> bool:
    scope = values if env is None else values["env"][env]
    return any(
        one.get("binding") == members["binding"]
        for name, members in bindings.entries()
        for one in scope.get(name, [])
    )


def is_subsequence(part: str, whole: str) -> bool:
    """Whether `whole` is `part` with characters added."""
    rest = iter(whole)
    return all(character in rest for character in part)


PIECES = st.sampled_from([*"\"'{}[]#,=\\", "[[", "/*", "*/", "//"])


@pytest.mark.fault("V02")
@settings(deadline=None)
@given(files, SCOPES, st.integers(0), PIECES, st.integers(0, 3))
def test_a_damaged_file_is_merged_or_refused_in_words(
    named: tuple[str, str], env: str | None, at: int, piece: str, removed: int
) -> None:
    """Never an error that is a bug, and never a file that the next merge would refuse."""
    file, text = named
    at %= len(text)
    damaged = (text[:at] + piece + text[at + removed :]).encode()
    said = file
    try:
        merged = merge_bindings(damaged, WANTED, file=file, env=env)
    except (UsageError, PreconditionError) as refusal:
        said = str(refusal)
    else:
        assert merge_bindings(merged, WANTED, file=file, env=env) == merged
    assert file in said
