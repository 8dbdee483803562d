"""The question before a run writes: from where to where, and how much."""

from migrate.plan.record import RunPlan
from migrate.words import counted
from q2v.options import Question, confirm_name
from q2v.output.render import elsewhere_cells, format_cell, format_reasons
from q2v.output.route import Route
from q2v.output.screen.wrapping import wrapped


def confirm_write(plan: RunPlan, route: Route, *, sure: bool) -> None:
    """Ask for the index's name to be typed. Raises UsageError for anything else."""
    index_name = plan.index.name
    cells = [
        *route.cells(),
        ("vectors", f"{plan.vectors:,} of {counted(plan.points, 'point')}"),
        *elsewhere_cells(plan.elsewhere),
        ("files (KV entries)", f"{plan.files:,}"),
        *([("left out", format_reasons(plan.quarantined))] if plan.quarantined else []),
    ]
    width = max(len(label) for label, _ in cells)
    indent = " " * (width + 4)
    lines = [
        line
        for label, cell in cells
        for line in wrapped(format_cell(cell), first=f"  {label:<{width}}  ", then=indent)
    ]
    question = Question(
        f"writing to vector index '{index_name}'",
        "Type the name of the vector index to write to; anything else writes nothing",
        index_name,
        said="\n".join(["This will be written:", *lines]),
    )
    confirm_name(question, sure=sure)
