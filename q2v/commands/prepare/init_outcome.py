"""What `q2v init` shows: the shape with its reasons, what to decide, secrets, the next command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.mapping.shapes.proposal import Proposal
from migrate.mapping.shapes.recognise import Recognition, marks_in_words
from migrate.model.limits import DIMENSIONS_MAX
from migrate.words import counted
from migrate.wrangler.change import FileChange
from q2v.commands.prepare.migration_file import Secrets
from q2v.invocation import Place
from q2v.output.advice import Named, complete
from q2v.output.render import render
from q2v.settings.loading import CONFIG_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found, and written."""

    change: FileChange
    found: Recognition
    proposal: Proposal
    dimensions: int | None  # of the source; None where it was not read
    secrets: Secrets  # that the other commands need

    def reasons(self) -> Iterator[str]:
        """Why this shape, and why these fields."""
        shape, points = self.proposal.shape, self.found.points
        if not points:
            yield "the source was not read: shape and fields are as named"
        elif shape.marks:
            fitting = self.proposal.fitting
            yield f"{fitting:,} of {counted(points, 'point')} have {marks_in_words(shape)}"
        yield from self.proposal.reasons

    def decisions(self) -> Iterator[str]:
        """What the operator has to decide or to mend."""
        proposal, points = self.proposal, self.found.points
        if proposal.shape.marks and proposal.fitting < points:
            others = points - proposal.fitting
            yield (
                f"{others:,} of {counted(points, 'point')} are not of this shape: are they to "
                "move too?"
            )
        left_out = sum(proposal.left_out.values())
        if left_out:
            named = ", ".join(
                f"{reason} ({count:,})" for reason, count in proposal.left_out.items()
            )
            yield (
                f"{left_out:,} of {counted(points, 'point')} would be left out: {named}; `q2v "
                "plan` "
                "names them"
            )
        if not proposal.group_key:
            yield (
                "no field names the file, so KV gets the counter and no file index; "
                "group_key names one"
            )
        if self.dimensions is not None and self.dimensions > DIMENSIONS_MAX:
            yield (
                f"the source has {self.dimensions:,} dimensions, a vector index at most "
                f"{DIMENSIONS_MAX:,}: see dimensions and reduce in the file"
            )


def show(outcome: Outcome, folder: Place, *, as_json: bool) -> None:
    """The outcome as JSON or as lines; `folder` is --dir."""
    path, proposal = outcome.change.path, outcome.proposal
    reasons, decisions = list(outcome.reasons()), list(outcome.decisions())
    config = None if path == Path(CONFIG_NAME) else path
    plan, *decisions = (
        complete(text, str(folder), None, config, Named()) for text in ("`q2v check`", *decisions)
    )
    document = {
        "file": path,
        "written": outcome.change.is_change,
        "shape": proposal.shape.name,
        "reasons": reasons,
        "points": proposal.points,
        "recognised": outcome.found.counts,
        "left_out": proposal.left_out,
        "decisions": decisions,
        "secrets": [{"variable": name, "uses": uses} for name, uses in outcome.secrets],
        "next": plan.strip("`"),
    }
    rows = (
        ("file", str(path)),
        ("written", "yes" if outcome.change.is_change else "it is there already, the same"),
        ("shape", f"{proposal.shape.name}: {proposal.shape.written_by}"),
    )
    notes = [f"because: {reason}" for reason in reasons]
    notes += [f"decide: {decision}" for decision in decisions]
    for name, uses in outcome.secrets:
        notes += ["", f"{name} or {name}_FILE:", *(f"  {use}" for use in uses)]
    render(document, rows, as_json=as_json, notes=[*notes, "", f"next: {plan.strip('`')}"])
