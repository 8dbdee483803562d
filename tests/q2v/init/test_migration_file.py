"""The written file is read by the tool as it was meant, whatever is in it."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.shapes.known import SHAPES
from migrate.mapping.shapes.proposal import Proposal, propose
from q2v.commands.prepare.init_answers import with_value
from q2v.commands.prepare.migration_file import SOURCE_KEYS, TARGET_KEYS, migration_file
from q2v.rules.stages import mapping_rules
from q2v.settings import Settings
from tests.harness.strategies import json_objects
from tests.migrate.mapping.shapes.written import WRITERS, sample, sample_of
from tests.q2v.settings.layers import load_settings

# Printable, as every setting is; with all that TOML and JSON escape.
TEXTS = st.text(st.sampled_from("ab \"\\'#=[]{}\u00e9\U0001f600"), min_size=1, max_size=12)
GIVEN = {
    "source.path": TEXTS.filter(lambda text: not text.startswith("~")).map(Path),
    "source.collection": TEXTS,
    "source.vector_name": TEXTS,
    "source.transport": st.sampled_from(["auto", "rest"]),
    "target.account_id": st.just("0123abcd"),
    "target.vector_index": st.sampled_from(["chunks", "a-b_c"]),
    "tls.ca_file": st.just(Path("ca.pem")),
}


@st.composite
def settings(draw: st.DrawFn) -> Settings:
    """Settings of which some are given."""
    found = Settings()
    for key, values in GIVEN.items():
        value = draw(st.none() | values)
        found = found if value is None else with_value(found, key, value)
    return found


def read_again(folder: Path, text: str) -> Settings:
    path = folder / "migration.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(config=path, environment={}, flags={})


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    """Of every shape: without points, with its own, and with those of another writer."""
    name = draw(st.sampled_from(list(SHAPES)))
    foreign = sample(*draw(st.lists(json_objects(), max_size=3)))
    is_own = name in WRITERS and draw(st.booleans())
    return propose(SHAPES[name], sample_of(name) if is_own else foreign)


@pytest.mark.slow
@pytest.mark.fault("M30")
@given(
    meant=settings(),
    proposal=proposals(),
    dimensions=st.none() | st.sampled_from([1_536, 3_072]),
)
def test_what_is_written_is_read_as_it_was_meant(
    tmp_path_factory: pytest.TempPathFactory,
    meant: Settings,
    proposal: Proposal,
    dimensions: int | None,
) -> None:
    text = migration_file(meant, proposal, dimensions)

    read = read_again(tmp_path_factory.getbasetemp(), text)

    written = (*SOURCE_KEYS, *TARGET_KEYS, "tls.ca_file")
    assert mapping_rules(read) == proposal.rules()
    assert read.target.metadata_indexes == proposal.metadata_indexes
    assert all(read.value(key) == meant.value(key) for key in written)
    of_the_shape = {"target.metadata_indexes", "kv.key_template"}
    assert {
        key
        for key in read.origins
        if not key.startswith("mapping.") and key not in {*of_the_shape, *written}
    } == set()


@pytest.mark.fault("M30")
def test_a_line_fits_on_a_terminal() -> None:
    for name in SHAPES:
        text = migration_file(Settings(), propose(SHAPES[name], []), 3_072)

        assert max(map(len, text.splitlines())) <= 100
        assert text.replace("\n", "").isprintable()
        assert "mapping" in tomllib.loads(text)


def test_more_dimensions_than_the_target_holds_are_left_to_the_operator(tmp_path: Path) -> None:
    """Whether the first values alone mean anything depends on the model."""
    proposal = propose(SHAPES["seed"], [])

    text = migration_file(Settings(), proposal, 3_072)

    assert "# dimensions = 1536" in text
    assert read_again(tmp_path, text).mapping.dimensions is None
    uncommented = text.replace("# dimensions", "dimensions").replace("# reduce", "reduce")
    read = read_again(tmp_path, uncommented)
    assert (read.mapping.dimensions, read.mapping.reduce) == (1_536, "matryoshka")
    assert "dimensions" not in migration_file(Settings(), proposal, 1_536)
