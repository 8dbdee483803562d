"""Evidence from the records of `q2v parity`: whether enough of search is kept."""

from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.run.folder import RunFolder
from migrate.storage.layout import PARITY
from reconcile.gate.criteria import Criterion, Evidence
from reconcile.parity.record import find_cut, newest_of_index


def of_the_cut(run: RunFolder) -> Evidence:
    """From the records of `q2v parity`: what a cut of dimensions keeps, and how the index answers.

    A snapshot does not change, so its figures do not age.
    """
    values, place, at = run.plan.values, run.folder.address(PARITY), None
    holds: bool | None = True
    found = f"no dimensions are cut: {values.dimensions:,}"
    try:
        if values.is_cut:
            cut = find_cut(run.snapshot, values, run)
            holds = None if cut is None else cut.holds
            found = (
                f"the cut from {values.source_dimensions:,} to {values.dimensions:,} dimensions "
                "was never measured"
                if cut is None
                else cut.in_words()
            )
            place = place if cut is None else cut.place
        index = newest_of_index(run)
        if index is not None:
            found += f"; asked at {index['at']}: {index['why']}"
            holds = holds if index["verdict"] == "pass" else False
    except (ArtefactDamagedError, ForeignStateError) as error:
        holds, found = False, str(error)
    return Evidence(criterion=Criterion.PARITY, holds=holds, found=found, place=place, at=at)
