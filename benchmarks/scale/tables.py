"""The tables of docs/scale.md, by name."""

from collections.abc import Callable, Iterable, Sequence

from benchmarks.scale import facts
from benchmarks.scale.arithmetic import (
    GB,
    LARGE_BODY,
    USUAL_BODY,
    Size,
    budget_s,
    cost,
    figures,
    holder,
    kv_days_on_free,
    kv_value_bytes,
    objects,
    parts,
    reading,
    stored,
    upload_holders,
    upload_s,
    verifier_cpu_s,
    verifier_s,
    verifier_usd,
)
from migrate.plan import request_counts
from migrate.plan.estimate import is_long_rollback

MACHINES = (1, 2, 4, 16)
LINES = (100, 1_000, 10_000)  # Mbit/s
LINE = 1_000  # where one line is shown
STREAMS = (8, 32)
SIZES = [Size(points, dimensions) for dimensions in facts.SHAPES for points in facts.POINTS]
WIDE = [size for size in SIZES if size.dimensions == facts.SHAPES[0]]
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_MB, _TB = 1e6, 1e12
_EXACT_BELOW = 100


def span(seconds: float) -> str:
    """`26 s`, `4.3 min`, `4.8 h`, `3.2 d`."""
    units = ((_DAY, "d", 2 * _DAY), (_HOUR, "h", 2 * _HOUR), (_MINUTE, "min", 2 * _MINUTE))
    for length, unit, least in units:
        if seconds >= least:
            return f"{_short(seconds / length)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:,.1f}" if number < _EXACT_BELOW else f"{number:,.0f}"


def volume(count: float) -> str:
    """`13.6 kB`, `10.5 GB`, `1.0 TB`."""
    for length, unit in ((_TB, "TB"), (GB, "GB"), (_MB, "MB")):
        if count >= length:
            return f"{_short(count / length)} {unit}"
    return f"{_short(count / 1_000)} kB"


def usd(amount: float) -> str:
    """Cents below a hundred, else whole ones."""
    return f"{amount:,.2f}" if amount < _EXACT_BELOW else f"{amount:,.0f}"


def points_of(size: Size) -> str:
    """`10 M`, `1,000 M`."""
    return f"{size.points // 1_000_000:,} M"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of a page."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def _facts() -> str:
    return markdown(
        ("figure", "value", "mark", "from"),
        (
            (one.what, f"{_value(one.value)} {one.unit}".strip(), one.mark, one.source)
            for one in facts.facts()
        ),
    )


def _value(value: float) -> str:
    if value >= _EXACT_BELOW:
        return f"{value:,.0f}"
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _sizes() -> str:
    return markdown(
        ("points", "dimensions", "files", "parts of a snapshot", "vector indexes"),
        (
            (
                points_of(size),
                f"{size.dimensions:,}",
                f"{size.files:,}",
                f"{parts(size):,}",
                size.indexes,
            )
            for size in SIZES
        ),
    )


def _reading() -> str:
    head = ("points", "dimensions", "over the line, twice", "ids counted", "first reading")
    first = (*head, "second reading", *(f"all, {n} machines" for n in MACHINES), "held by")
    rows = []
    for size in SIZES:
        found = [reading(size, machines) for machines in MACHINES]
        one = found[0]
        rows.append(
            (
                points_of(size),
                f"{size.dimensions:,}",
                volume(2 * size.points * size.wire_bytes),
                span(one.count_s),
                span(one.read_s),
                span(one.again_s),
                *(span(each.seconds) for each in found),
                f"{found[0].held_by}; from {_from_line(size)} on the line",
            )
        )
    return markdown([name.replace("1 machines", "1 machine") for name in first], rows)


def _from_line(size: Size) -> int:
    """Machines from which on more of them do not help."""
    machines = 1
    while reading(size, machines).held_by != "the line":
        machines += 1
    return machines


def _disk() -> str:
    rows = []
    for size in SIZES:
        found, price = stored(size), cost(size)
        rows.append(
            (
                points_of(size),
                f"{size.dimensions:,}",
                volume(found.parts_bytes),
                f"{objects(size):,}",
                f"{usd(price.store)} a month, {usd(price.store_used)} once",
                volume(found.targets_bytes),
                volume(found.spill_bytes),
                volume(found.driver_bytes),
            )
        )
    head = ("points", "dimensions", "parts", "objects in a store", "R2, USD")
    return markdown((*head, "targets.parquet", "duckdb spills", "the driver's disk"), rows)


def _upload() -> str:
    head = ("points", "body", "bytes", "requests", "the budget alone")
    rows = []
    for size in WIDE:
        for body in (USUAL_BODY, LARGE_BODY):
            found = figures(size, LINE, body)
            rows.append(
                (
                    points_of(size),
                    f"{body // 1_000_000} MB",
                    volume(found.upload_bytes),
                    f"{found.upload_requests:,}",
                    span(budget_s(found.upload_requests)),
                    *(span(upload_s(size, line, body)) for line in LINES),
                    ", ".join(holder(upload_holders(size, line, body)) for line in LINES),
                )
            )
    return markdown((*head, *(_line_name(line) for line in LINES), "held by"), rows)


def _line_name(line_mbit_per_s: int) -> str:
    if line_mbit_per_s < LINE:
        return f"at {line_mbit_per_s} Mbit/s"
    return f"at {line_mbit_per_s // LINE} Gbit/s"


def _proof() -> str:
    rows = []
    for size in WIDE:
        found = figures(size, LINE)
        rows.append(
            (
                points_of(size),
                f"{found.list_requests:,}",
                span(found.list_minutes * 60),
                f"{found.content_requests:,}",
                span(found.content_minutes * 60),
                *(span(verifier_s(size.points, streams=streams)) for streams in STREAMS),
                span(verifier_cpu_s(size.points)),
                usd(verifier_usd(size.points)),
            )
        )
    head = ("points", "requests to list", "listing", "requests to read", "contents by REST")
    by = (f"by the verifier, {streams} at once" for streams in STREAMS)
    return markdown((*head, *by, "its CPU", "USD"), rows)


def _kv() -> str:
    rows = []
    for size in WIDE:
        price = cost(size)
        writes = request_counts.kv_write_requests(size.files)
        compare = request_counts.kv_compare_requests(size.files)
        rows.append(
            (
                points_of(size),
                f"{size.files + 1:,}",
                volume(size.files * kv_value_bytes()),
                f"{writes:,}",
                span(budget_s(writes, in_flight=1)),
                f"{compare:,}",
                span(budget_s(compare, in_flight=1)),
                f"{kv_days_on_free(size):,} d",
                f"{usd(price.kv_written)} once, {usd(price.kv_stored)} a month",
            )
        )
    head = ("points", "entries", "values", "requests to write", "writing", "requests to compare")
    return markdown((*head, "comparing", "on the free plan", "USD"), rows)


def _rollback() -> str:
    rows = []
    for size in WIDE:
        found = figures(size, LINE)
        rows.append(
            (
                points_of(size),
                f"{found.rollback_requests:,}",
                span(found.rollback_minutes * 60),
                "delete the indexes" if is_long_rollback(found.rollback_minutes) else "undo it",
            )
        )
    return markdown(("points", "requests", "compare and delete by id", "q2v plan says"), rows)


def _cost() -> str:
    rows = []
    for size in WIDE:
        found = cost(size)
        rows.append(
            (
                points_of(size),
                usd(found.vectorize),
                usd(found.kv_stored),
                usd(found.store),
                usd(found.kv_written),
                usd(found.store_used),
                usd(found.verifier),
                usd(found.rest_proof),
            )
        )
    head = ("points", "Vectorize, a month", "KV, a month", "R2, a month", "KV entries, once")
    return markdown(
        (*head, "R2 requests, once", "verifier, once", "reads by id, once, if they count"), rows
    )


def _held() -> str:
    rows = []
    for size in WIDE:
        found = figures(size, LINE)
        one = reading(size, 1)
        steps = {
            "snapshot": one.seconds,
            "plan": size.points / facts.MAPPED_PER_S.value,
            "upload": upload_s(size, LINE, USUAL_BODY),
            "listing": found.list_minutes * 60,
            "contents by the verifier": verifier_s(size.points, streams=STREAMS[-1]),
            "KV": budget_s(
                found.kv_requests + request_counts.kv_compare_requests(size.files), in_flight=1
            ),
        }
        upload = holder(upload_holders(size, LINE, USUAL_BODY))
        rows.append(
            (
                points_of(size),
                *(span(seconds) for seconds in steps.values()),
                span(sum(steps.values())),
                f"{holder(steps)}; the upload by {upload}",
            )
        )
    head = ("points", "snapshot", "plan", "upload", "listing", "contents", "KV", "all")
    return markdown((*head, "the longest"), rows)


SIMULATED = "simulated"  # the table that takes minutes
TABLES: dict[str, Callable[[], str]] = {
    "held": _held,
    "sizes": _sizes,
    "reading": _reading,
    "disk": _disk,
    "upload": _upload,
    "proof": _proof,
    "kv": _kv,
    "rollback": _rollback,
    "cost": _cost,
    "facts": _facts,
}


def filled(page: str) -> str:
    """The page with every table of the arithmetic between its two marks."""
    for name, table in TABLES.items():
        page = fill(page, name, table())
    return page


def fill(page: str, name: str, table: str) -> str:
    """The page with one table between its two marks. Raises ValueError without them."""
    begin, end = f"<!-- scale: {name} -->\n", f"\n<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page has no place for the table '{name}': {begin!r}, {end!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def kept(page: str, name: str) -> str:
    """The table that the page has between these marks."""
    _, _, rest = page.partition(f"<!-- scale: {name} -->\n")
    return rest.partition(f"\n<!-- end of {name} -->")[0].strip()
