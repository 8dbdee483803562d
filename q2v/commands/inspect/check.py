"""`q2v check`: settings, machine, source and target in seconds, before anything is read whole."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby

import click

from migrate.check.machine import check_disk, check_folder, check_window
from migrate.check.rows import Row, Rows, State
from migrate.check.source import OF_A_SOURCE, SourceFound, check_source
from migrate.check.target import OF_A_TARGET, TargetAccount, TargetNames, check_target
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.errors import ExitCode, UsageError
from migrate.plan.rules import PlanRules
from migrate.ports import Clock, PointSource, Progress
from migrate.storage.folder import WorkFolder
from q2v import wiring
from q2v.invocation import Place, current_invocation
from q2v.options import PLANNING, SEAL, SOURCE, TARGET, VERIFIER, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.configured import environment_warnings, hint_about
from q2v.output.following import Following, TargetNow, following_here
from q2v.output.progress import open_progress
from q2v.output.render import write_document, write_texts
from q2v.output.screen.table import TableRow, write_table
from q2v.rules.required import ASK_FOR_NAMES, missing_settings, ways_to_set
from q2v.rules.stages import Choices, plan_rules
from q2v.secret_files import load_secret
from q2v.settings import Settings

_REQUIRED = (
    "source.url",
    "source.collection",
    "target.account_id",
    "target.api_token",
    "target.vector_index",
)


@takes(*SOURCE, *TARGET, *PLANNING, *VERIFIER, SEAL)
@click.command("check")
@click.option("--allow-cast", is_flag=True, help="Accept uint8 or float16 values as float32.")
@click.option("--allow-empty", is_flag=True, help="Accept an empty collection.")
@folder_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    allow_cast: bool,
    allow_empty: bool,
    folder: Place,
    as_json: bool,
    settings: Settings,
) -> None:
    """Ask everything that a move needs, in seconds: settings, machine, source, target.

    Reads the first 200 points of the source, and writes to neither side. A row that fails names
    what to do next. Exit code 0: no row fails; else that of the first row that does.
    """
    directory, clock, rows = wiring.open_folder(folder), wiring.system_clock(), Rows()
    choices = Choices(allow_cast=allow_cast, allow_empty=allow_empty)
    rules = plan_rules(settings, choices)
    _check_settings(rows, settings)
    following = None
    if check_folder(rows, directory):
        with open_progress(sys.stderr, clock) as progress:
            look = _Look(settings, directory, clock, progress)
            found = look.source(rows, rules)
            check_disk(rows, directory, found)
            request_s = look.target(rows, rules, found)
            look.verifier(rows)
        check_window(rows, found, rules, request_s)
    if rows.exit_code is ExitCode.DONE:
        missing = [row for row in rows.all if row.state is State.WARN and row.name in _PROVISIONED]
        following = following_here(
            directory,
            settings,
            wiring.seal_key(settings),
            TargetNow(
                provisioned=not missing,
                holds_vectors=any(_ASKED in row.advice for row in missing),
            ),
        )
    show(rows, following, as_json=as_json)
    ctx.exit(rows.exit_code)


_ASKED = "`q2v provision --into-non-empty`"  # in the advice of a row
_PROVISIONED = {"index", "metadata indexes", "KV namespace"}


class _Look:
    """What the rows are asked with."""

    def __init__(
        self, settings: Settings, folder: WorkFolder, clock: Clock, progress: Progress
    ) -> None:
        self._settings, self._folder = settings, folder
        self._clock, self._progress = clock, progress

    def source(self, rows: Rows, rules: PlanRules) -> SourceFound | None:
        """The rows of the source, and what its key shows."""
        if missing_settings(self._settings, "source.url", "source.collection"):
            rows.skip(OF_A_SOURCE, "no source is configured")
            return None
        with ExitStack() as stack:

            def opened() -> PointSource:
                return stack.enter_context(
                    wiring.open_source(
                        self._settings,
                        self._folder,
                        clock=self._clock,
                        progress=self._progress,
                        patience=wiring.IMPATIENT,
                    )
                )

            source = rows.look("source", opened)
            if source is None:
                rows.skip(OF_A_SOURCE[1:], "the source was not opened")
                return None
            found = check_source(rows, source, rules, self._clock)
            notes = wiring.source_credential_notes(self._settings)
            if notes:
                rows.warn("source key", "; ".join(notes), "")
            return found

    def target(self, rows: Rows, rules: PlanRules, found: SourceFound | None) -> float | None:
        """The rows of the target; returns how long a request takes, None where none was sent."""
        target = self._settings.target
        if target.account_id is None or target.api_token is None:
            rows.skip(OF_A_TARGET, "no account is configured")
            return None
        token = target.api_token

        def opened() -> tuple[CloudflareHttp, RequestBudget, str]:
            http, budget, _ = wiring.open_http(
                self._settings,
                self._folder,
                clock=self._clock,
                progress=self._progress,
                patience=wiring.IMPATIENT,
            )
            return http, budget, load_secret(token).reveal()

        account = rows.look("token", opened)
        if account is None:
            others = (name for name in OF_A_TARGET if name != "token")
            rows.skip(others, "no token to ask with")
            return None
        http, budget, text = account
        try:
            check_target(
                rows,
                TargetAccount(http=http, budget=budget, clock=self._clock),
                TargetNames(
                    vector_index=target.vector_index,
                    kv_namespace_id=target.kv_namespace_id,
                    token=text,
                ),
                rules,
                None if found is None else found.values,
            )
            return http.median_answer_s()
        finally:
            http.close()

    def verifier(self, rows: Rows) -> None:
        """Whether the verifier answers as the one that has the key; no row without one."""
        with ExitStack() as stack:

            def state() -> str:
                verifier = stack.enter_context(
                    wiring.open_verifier(self._settings, clock=self._clock, progress=self._progress)
                )
                target = self._settings.target
                indexes = [target.vector_index] if target.vector_index else list(target.shards)
                if verifier is None or not indexes:
                    return ""
                states = {index: verifier.read_state(index) for index in indexes}
                return "answers, reads " + ", ".join(
                    f"'{index}' of {state.dimensions:,} dimensions"
                    for index, state in states.items()
                )

            what = rows.look("verifier", state)
            if what:
                rows.ok("verifier", what)


def _check_settings(rows: Rows, settings: Settings) -> None:
    """What every move needs is set; variables that set nothing are named."""
    missing = missing_settings(settings, *_REQUIRED)
    if missing:
        ways = "\n".join(f"set {ways_to_set(each)}" for each in missing)
        what = f"not set: {', '.join(each.key for each in missing)}"
        rows.fail("settings", UsageError(what, remedy=f"{ways}\n{ASK_FOR_NAMES}"))
        return
    rows.note(
        "settings", f"{len(settings.origins)} set, the others have defaults", environment_warnings()
    )


def show(rows: Rows, following: Following | None, *, as_json: bool) -> None:
    """The table, the verdict and the next command; or one JSON document."""
    if as_json:
        members: dict[str, object] = {} if following is None else following.document()
        write_document({**_document(rows), **members})
        return
    write_table(list(_table_rows(rows.all)))
    if following is None:
        again = advise("`q2v check`").strip("`")
        notes = ["", f"next: mend what fails above, then {again}"]
    else:
        notes = following.notes()
    write_texts(["", _verdict(rows), *notes])


def _document(rows: Rows) -> dict[str, object]:
    return {
        "checks": [
            {
                "name": row.name,
                "state": row.state.value,
                "found": row.found,
                "advice": _advice_of(row) or None,
                "exit_code": int(row.exit_code),
            }
            for row in rows.all
        ],
        **{state.value: rows.count(state) for state in State},
        "exit_code": int(rows.exit_code),
    }


def _table_rows(rows: Iterable[Row]) -> Iterator[TableRow]:
    """A line for each row; one for neighbours that were skipped for the same reason."""
    for (state, found), same in groupby(rows, key=_skipped_why):
        group = list(same)
        if state is State.SKIPPED:
            names = ", ".join(row.name for row in group)
            yield TableRow(mark=state.value, name="", text=f"{names}: {found}")
            continue
        for row in group:
            advice = _advice_of(row)
            yield TableRow(mark=state.value, name=row.name, text=row.found, advice=advice)


def _advice_of(row: Row) -> str:
    invocation = current_invocation()
    hint = hint_about(row.found, invocation.settings, invocation.config)
    return hint if hint and row.state is State.FAIL else advise(row.advice)


def _skipped_why(row: Row) -> tuple[State, str]:
    return row.state, row.found if row.state is State.SKIPPED else ""


def _verdict(rows: Rows) -> str:
    failed = [row.name for row in rows.all if row.state is State.FAIL]
    warned = rows.count(State.WARN)
    if failed:
        return f"not ready: {', '.join(failed)}; {len(failed)} of {len(rows.all)} checks fail"
    if warned:
        return f"ready: no check fails, {warned} of {len(rows.all)} warn"
    return f"ready: no check of {len(rows.all)} fails or warns"
