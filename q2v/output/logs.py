"""Mask secrets in every text that leaves the process: logs, tracebacks, results, messages."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from typing_extensions import override

from migrate.transport.masking import Masker
from q2v.output.terminal import escape_lines, write_text

if TYPE_CHECKING:
    from types import TracebackType

# The logging module and the exception hooks belong to the process, so this does as well:
# a secret is registered where it is read, and every writer knows it without being told.
PROCESS_MASKER = Masker()


class MaskingFormatter(logging.Formatter):
    """Formats a record, then masks the whole line; control characters come out escaped."""

    def __init__(self, masker: Masker) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._masker = masker

    @override
    def format(self, record: logging.LogRecord) -> str:
        """One record, its traceback included, without secrets."""
        return escape_lines(self._masker.mask(super().format(record)))


def mask_record(record: logging.LogRecord, masker: Masker) -> None:
    """Take the secrets out of a record before any handler sees it."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # A wrong format is reported by the handler itself, unmasked, with all arguments.
        message = f"{record.msg} (arguments do not fit the message)"
    record.msg, record.args = masker.mask(message), ()
    if record.exc_info and record.exc_info[1] is not None:
        # Formatters use this text; the exception itself is taken from their hands.
        record.exc_text = masker.mask_traceback(record.exc_info[1]).rstrip("\n")
        record.exc_info = None
    if record.stack_info:
        record.stack_info = masker.mask(record.stack_info)


def silence_libraries() -> None:
    """C libraries write past every mask; gRPC is told to write nothing, unless the operator asks.

    Read when the library starts, so before that. Processes that are started later inherit it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@contextmanager
def masked_logging(masker: Masker, stream: TextIO) -> Iterator[None]:
    """Everything logged or raised unseen while this lasts is masked; warnings go to `stream`.

    Works at the record factory, because a filter on the root logger never sees the records of
    its children, and a handler of somebody else's would have none.
    """
    factory = logging.getLogRecordFactory()

    def masked_record(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        mask_record(record, masker)
        return record

    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter(masker))
    root = logging.getLogger()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    logging.setLogRecordFactory(masked_record)
    root.addHandler(handler)
    _install_hooks(masker, stream)
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        root.removeHandler(handler)
        logging.setLogRecordFactory(factory)


def _install_hooks(masker: Masker, stream: TextIO) -> None:
    """The interpreter's own last resorts print exceptions unmasked; ours do not."""

    def report(error: BaseException | None) -> None:
        if error is not None:
            write_text(stream, escape_lines(masker.mask_traceback(error)))

    def on_exception(
        kind: type[BaseException], error: BaseException, trace: "TracebackType | None"
    ) -> None:
        report(error)

    sys.excepthook = on_exception
    threading.excepthook = lambda args: report(args.exc_value)
    sys.unraisablehook = lambda args: report(args.exc_value)
