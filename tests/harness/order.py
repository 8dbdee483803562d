"""The order of the tests: what takes long comes first in each process, so none is left at the end.

pytest-xdist cuts the list into as many equal pieces as there are processes. A process that has done
its piece takes half of what another one has left.
"""

from collections.abc import Callable, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def spread(
    items: Sequence[Item],
    pieces: int,
    *,
    file_of: Callable[[Item], Path],
    weight_of: Callable[[Item], int],
) -> list[Item]:
    """The items, each piece beginning with its share of the weight; files stay whole.

    `items` come file by file. A weight of 0 is a quick test; quick files fill the pieces.
    """
    files = [list(group) for _, group in groupby(items, file_of)]
    weights = [sum(map(weight_of, group)) for group in files]
    heavy = sorted((at for at, weight in enumerate(weights) if weight), key=lambda at: -weights[at])
    quick = chain.from_iterable(
        group for group, weight in zip(files, weights, strict=True) if not weight
    )
    shares: list[list[Item]] = [[] for _ in range(pieces)]
    loads = [0] * pieces
    for at in heavy:
        least = loads.index(min(loads))
        loads[least] += weights[at]
        shares[least] += files[at]
    spread_: list[Item] = []
    for number, share in enumerate(shares):
        size = (len(items) - len(spread_)) // (pieces - number)
        spread_ += [*share, *islice(quick, max(0, size - len(share)))]
    return [*spread_, *quick]
