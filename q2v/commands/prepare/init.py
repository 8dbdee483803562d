"""`q2v init`: the first migration.toml, for the shape that the payloads of the source have."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from migrate.errors import PreconditionError, RemoteUnavailableError, UsageError
from migrate.mapping.shapes.known import SHAPES
from migrate.mapping.shapes.proposal import propose
from migrate.mapping.shapes.recognise import Recognition, SamplePoint, recognise
from migrate.mapping.shapes.shape import Shape
from migrate.model.records import VectorKind, VectorSpec
from migrate.ports import PointSource
from migrate.snapshot.walk import walk_points
from migrate.storage.folder import WorkFolder
from migrate.words import counted
from migrate.wrangler.change import FileChange, read_file
from q2v import wiring
from q2v.commands.prepare.init_answers import choose, with_answers, with_value
from q2v.commands.prepare.init_outcome import Outcome, show
from q2v.commands.prepare.migration_file import migration_file, secrets_for
from q2v.invocation import Place
from q2v.options import SOURCE, folder_option, json_option, takes
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress import open_progress
from q2v.output.terminal import can_ask, escape_terminal, write_text
from q2v.rules.required import check_required
from q2v.settings import Settings
from q2v.settings.loading import CONFIG_NAME

SAMPLE_POINTS = 200
_REQUIRED = ("source.url", "source.collection", "target.vector_index")
_ASKED = (*_REQUIRED, "target.account_id")
_FIELDS_SHOWN_MAX = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read of the source; nothing with --no-source."""

    points: Sequence[SamplePoint] = ()
    vectors: tuple[VectorSpec, ...] = ()

    @property
    def dense(self) -> dict[str, int | None]:
        """Dimensions of the vectors of which one can move, by name."""
        dense = (one for one in self.vectors if one.kind is VectorKind.DENSE)
        return {one.name: one.dimensions for one in dense}


@takes(*SOURCE, "source.vector_name", "target.account_id", "target.vector_index")
@click.command("init")
@click.option(
    "--shape", "shape_name", type=click.Choice(list(SHAPES)), help="Shape of the payloads."
)
@click.option("--no-source", is_flag=True, help="Do not read the source; needs --shape.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=CONFIG_NAME,
    show_default=True,
    help="File to write.",
)
@folder_option
@json_option
def command(
    *,
    shape_name: str | None,
    no_source: bool,
    out: Path,
    folder: Place,
    as_json: bool,
    settings: Settings,
) -> None:
    """Write the first migration.toml, with the mapping for the shape of the payloads.

    Looks at 200 points of the source, says which shape they have and why, and how many of them
    would move. On a terminal it asks for what no flag or variable gives. A file that exists is
    never replaced. Writes no secret, and says which ones the other commands need.
    """
    if no_source and shape_name is None:
        raise UsageError(
            "--no-source: found no --shape, expected one: without points no shape is recognised",
            remedy=f"add --shape with one of {', '.join(SHAPES)}",
        )
    before = read_file(out)
    asking = can_ask() and before is None
    if asking:
        settings = with_answers(settings, _ASKED)
    check_required(settings, *_REQUIRED)
    sample = Sample() if no_source else _read_sample(settings, wiring.open_folder(folder), out)
    settings = _with_vector_name(settings, sample, asking=asking)
    found = recognise(sample.points)
    shape = SHAPES[shape_name] if shape_name is not None else _recognised(found, asking=asking)
    proposal = propose(shape, sample.points)
    dimensions = sample.dense.get(settings.source.vector_name)
    content = _checked(migration_file(settings, proposal, dimensions))
    change = FileChange(out, before, content)
    if before is not None and change.is_change:
        raise PreconditionError(
            f"{out} exists with another content; nothing was written",
            remedy="name another file with --out, and take over what you need",
        )
    change.write()
    outcome = Outcome(
        change=change,
        found=found,
        proposal=proposal,
        dimensions=dimensions,
        secrets=secrets_for(settings),
    )
    show(outcome, folder, as_json=as_json)


def _read_sample(settings: Settings, folder: WorkFolder, out: Path) -> Sample:
    """The first points of the source, by their ids.

    Raises RemoteUnavailableError, with the way on without a source.
    """
    clock = wiring.system_clock()
    with open_progress(sys.stderr, clock) as progress:
        try:
            with wiring.open_source(settings, folder, clock=clock, progress=progress) as source:
                return _first_points(source)
        except RemoteUnavailableError as error:
            named = [] if out == Path(CONFIG_NAME) else ["--out", str(out)]
            words = shlex.join(["q2v", "init", "--no-source", "--shape", "NAME", *named])
            raise RemoteUnavailableError(
                str(error),
                remedy=f"{error.remedy}; or name the shape, and leave the source out: `{words}`",
            ) from error


def _first_points(source: PointSource) -> Sample:
    vectors = source.read_collection().vectors
    points: list[SamplePoint] = []
    for page in walk_points(
        source,
        None,
        None,
        limit=SAMPLE_POINTS,
        leave_unreadable=vectors,  # one point of 200 that cannot be read hides no shape
        with_vectors=False,
    ):
        points += map(SamplePoint, page.ids, page.payloads)
        if len(points) >= SAMPLE_POINTS:
            break
    return Sample(points[:SAMPLE_POINTS], vectors)


def _with_vector_name(settings: Settings, sample: Sample, *, asking: bool) -> Settings:
    """The settings, with the name of the vector where the collection leaves no other choice."""
    names = list(sample.dense)
    if not names or settings.source.vector_name in names:
        return settings
    if len(names) == 1 and not settings.source.vector_name:
        return with_value(settings, "source.vector_name", names[0])
    if asking:
        return with_value(settings, "source.vector_name", choose("Which vector moves", names))
    raise UsageError(
        f"source.vector_name from {settings.origin('source.vector_name')}: found "
        f'"{settings.source.vector_name}", expected one of the vectors of the collection: '
        f"{', '.join(names)}",
        remedy="name it with --vector-name",
    )


def _recognised(found: Recognition, *, asking: bool) -> Shape:
    if found.shape is not None:
        return found.shape
    if not found.points:
        raise PreconditionError(
            "the collection has no points, so no shape can be recognised",
            remedy=f"name one with --shape: {', '.join(SHAPES)}",
        )
    seen = ", ".join(f"{count} of shape {name}" for name, count in found.counts.items())
    fields = ", ".join(list(found.fields)[:_FIELDS_SHOWN_MAX])
    what = (
        f"no shape was recognised in {counted(found.points, 'point')}: found "
        f"{seen or 'none of a known one'}, "
        f"with the fields {fields or '(none)'}"
    )
    if asking:
        write_text(sys.stderr, escape_terminal(what) + "\n")
        return SHAPES[choose("Shape of the payloads", SHAPES)]
    raise PreconditionError(
        what,
        remedy="name one with --shape; `plain` moves any payload under the ids of the points "
        "(docs/shapes.md)",
    )


def _checked(text: str) -> bytes:
    """The bytes of the file. Raises UsageError for a secret that stands among the values."""
    if PROCESS_MASKER.mask(text) != text:
        raise UsageError(
            "one of the values for the file holds a secret; nothing was written",
            remedy="take the secret out of the flags and variables that are no place for it; "
            "replace it when others may have seen it",
        )
    return text.encode()
