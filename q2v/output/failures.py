"""Turn whatever ended a command into two lines on stderr, one JSON document, and an exit code."""

import errno
import re
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from migrate.errors import ExitCode, MigrationError
from q2v.invocation import Invocation
from q2v.memory import MEMORY_REMEDY, is_memory_short
from q2v.output.logs import PROCESS_MASKER
from q2v.output.render import encode_document
from q2v.output.screen.wrapping import terminal_width, wrapped
from q2v.output.terminal import escape_lines, escape_terminal, write_text
from q2v.signals import Stopped

CRASH_LOGS_MAX = 1_000
_CRASH_LOG = "q2v-crash-{}.log"
_DISK_REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EROFS: "the file system is read-only: use another --dir",
    errno.EACCES: "make it accessible for this user, or use another --dir",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure as it is reported."""

    exit_code: ExitCode
    what: str
    remedy: str
    after_key: bool = False  # a key was pressed in the middle of a line


# What libraries say at the end of advice, for the commands that keep what they have done.
_RESUMES = re.compile(r": it resumes\b[^;`]*")


def explain(error: BaseException, invocation: Invocation) -> Failure:
    """What happened, and what to do next. A bug leaves its traceback in a file in the folder."""
    return _as_it_is(_explain(error, invocation), invocation)


def _as_it_is(failure: Failure, invocation: Invocation) -> Failure:
    """Without the promise of resuming, of a command that does not."""
    if invocation.resumes:
        return failure
    return replace(failure, remedy=_RESUMES.sub("", failure.remedy))


def _explain(error: BaseException, invocation: Invocation) -> Failure:
    match error:
        case MigrationError():
            return _explain_refusal(error, invocation)
        case click.ClickException():
            return _explain_usage(error)
        case KeyboardInterrupt() | click.Abort():
            return _explain_abort(error, invocation)
        case _ if is_memory_short(error):
            return Failure(
                exit_code=ExitCode.LOCAL_IO,
                what="the system gives this process no more memory",
                remedy=MEMORY_REMEDY,
            )
        case OSError():
            return _explain_disk(error)
        case _:
            return _explain_bug(error, invocation.folder)


def _explain_refusal(error: MigrationError, invocation: Invocation) -> Failure:
    what, remedy = str(error), error.remedy
    if "`q2v " in what + remedy:
        # Here and not above: a start of q2v without advice has no use for the settings.
        from q2v.output.advice import advise  # noqa: PLC0415

        what, remedy = advise(what, invocation), advise(remedy, invocation)
    if invocation.config is not None:
        from q2v.output.configured import hint_about  # noqa: PLC0415 - as above

        hint = hint_about(what, invocation.settings, invocation.config)
        remedy = hint or remedy
    return Failure(exit_code=error.exit_code, what=what, remedy=remedy)


def explain_stop(number: signal.Signals, invocation: Invocation) -> Failure:
    """A signal has ended the command, whatever else failed on the way out."""
    by_key = number == signal.SIGINT
    where = "" if invocation.stopped_at is None else f"; {invocation.stopped_at}"
    failure = Failure(
        exit_code=ExitCode.INTERRUPTED if by_key else ExitCode.TERMINATED,
        what=f"stopped by {number.name}; everything written so far is safe{where}",
        remedy=invocation.continued_by
        or "run the same command again: it resumes where this one stopped",
        after_key=by_key,
    )
    return _as_it_is(failure, invocation)


def _explain_abort(error: KeyboardInterrupt | click.Abort, invocation: Invocation) -> Failure:
    if isinstance(error, Stopped):
        return explain_stop(error.number, invocation)
    if isinstance(error, KeyboardInterrupt):
        return explain_stop(signal.SIGINT, invocation)
    return Failure(
        exit_code=ExitCode.USAGE,
        what="the question was not answered; nothing has been done",
        remedy="answer it at a terminal, or pass --yes where --help names it",
        after_key=True,
    )


def _explain_usage(error: click.ClickException) -> Failure:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context is not None else "q2v"
    place = ""
    if isinstance(error, click.NoSuchOption) and command == "q2v":
        typed = error.option_name
        place = f"; an option of a command stands after its name: q2v COMMAND {typed}"
    return Failure(
        exit_code=ExitCode.USAGE,
        # Of a list of words `click` makes a column.
        what=error.format_message().replace("\n\t", " "),
        remedy=f"see {command} --help{place}",
    )


def _explain_disk(error: OSError) -> Failure:
    where = f" {error.filename}" if error.filename is not None else ""
    return Failure(
        exit_code=ExitCode.LOCAL_IO,
        what=f"local input or output failed:{where} {error.strerror or type(error).__name__}",
        remedy=_DISK_REMEDIES.get(
            error.errno or 0, "check disk and file, then run the same command again"
        ),
    )


def _explain_bug(error: BaseException, folder: Path) -> Failure:
    trace = PROCESS_MASKER.mask_traceback(error)
    log = write_crash_log(folder, trace)
    if log is None:
        with suppress(OSError):
            write_text(sys.stderr, escape_lines(trace))
    place = f"the traceback is in {log}" if log is not None else "the traceback is above"
    return Failure(
        exit_code=ExitCode.INTERNAL,
        what=f"internal error ({type(error).__name__}): a bug in q2v; {place}",
        remedy="report it with that traceback; running the same command again is safe",
    )


def write_crash_log(folder: Path, text: str) -> Path | None:
    """Write the text to a new file of mode 0600 in the folder; None when that is not possible."""
    # Here and not above: the way to this place is rare, the start of q2v is not.
    from migrate.storage.durable import make_folder, open_new  # noqa: PLC0415

    try:
        make_folder(folder)
        for counter in range(1, CRASH_LOGS_MAX + 1):
            path = folder / _CRASH_LOG.format(counter)
            with suppress(FileExistsError), open_new(path) as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                return path
    except (MigrationError, OSError):
        return None
    return None


def is_crash_log(name: str) -> bool:
    """Whether a file of this name is a crash log."""
    head, tail = _CRASH_LOG.split("{}")
    return name.startswith(head) and name.endswith(tail)


def tell(failure: Failure, invocation: Invocation, *, as_json: bool) -> None:
    """Two lines on stderr; with --json the document on stdout, unless one was printed already.

    Never raises: this is the last error handler.
    """
    what, remedy = PROCESS_MASKER.mask(failure.what), PROCESS_MASKER.mask(failure.remedy)
    with suppress(OSError, ValueError):
        first = [""] if failure.after_key and terminal_width(sys.stderr) else []
        lines = (*first, *_lines("q2v", what), *_lines("next", remedy), "")
        write_text(sys.stderr, "\n".join(lines))
    if as_json and not invocation.document_written:
        document: dict[str, object] = {
            "error": {"exit_code": int(failure.exit_code), "what": what, "next": remedy}
        }
        if invocation.sent:
            document["requests"] = sum(sent() for sent in invocation.sent)
        with suppress(OSError, ValueError):
            write_text(sys.stdout, encode_document(document))


def _lines(label: str, text: str) -> list[str]:
    """One line for a log; on a terminal as many as its width makes of it."""
    line = f"{label}: {escape_terminal(text)}"
    width = terminal_width(sys.stderr)
    return [line] if width is None else wrapped(line, then="  ", width=width)


def is_reader_gone(error: BaseException) -> bool:
    """Whether the reader of stdout has closed it, as `head` does."""
    if not isinstance(error, BrokenPipeError):
        return False
    watch = select.poll()
    try:
        watch.register(
            sys.stdout.fileno(), 0
        )  # poll reports errors and hang-ups without being asked
    except (AttributeError, OSError, ValueError):
        return False  # closed, or no file at all
    return bool(watch.poll(0))
