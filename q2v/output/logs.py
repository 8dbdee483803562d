"""Mask secrets in every text that leaves the process: logs, tracebacks, results, messages."""

import base64
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO

from typing_extensions import override

from q2v.output.terminal import escape_lines, write_text

if TYPE_CHECKING:
    from types import TracebackType

MASK = "***"
_BASE64_BITS = 6
_BASE64_CHARACTER = "[A-Za-z0-9+/_-]"
# A shorter run of base64 is ordinary text more often than a secret.
_BASE64_LENGTH_MIN = 6
# Nested escaping multiplies backslashes: four levels deep is as far as texts go, and with a bound
# a long run of backslashes in the text costs no more than any other.
_BACKSLASHES_MAX = 16
_SLASHES = rf"\\{{1,{_BACKSLASHES_MAX}}}"
_ESCAPES = {
    "\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f",
}  # fmt: skip
_HTML = {"&": "amp|#38", "<": "lt|#60", ">": "gt|#62", '"': "quot|#34", "'": "#x27|#39|apos"}


class Masker:
    """Replaces every registered secret, in any form it is likely to be written in.

    Forms: raw, URL-encoded, base64 (alone or inside a longer text), JSON- and `repr`-escaped,
    HTML-escaped, mixtures of these, in any letter case. One too many is masked rather than one
    too few.
    """

    def __init__(self) -> None:
        self._patterns: dict[str, re.Pattern[str]] = {}

    def register(self, secret: str) -> None:
        """Mask this text from now on; an empty one is ignored. Harmless when repeated."""
        if secret and secret not in self._patterns:
            self._patterns[secret] = _pattern(secret)

    def mask(self, text: str) -> str:
        """The text without secrets."""
        for pattern in tuple(self._patterns.values()):  # another thread may register meanwhile
            text = pattern.sub(MASK, text)
        return text

    def mask_values(self, value: object) -> object:
        """A JSON value with every text in it masked, keys included."""
        match value:
            case str():
                return self.mask(value)
            case dict():
                return {self.mask(str(key)): self.mask_values(item) for key, item in value.items()}
            case list() | tuple():
                return [self.mask_values(item) for item in value]
            case _:
                return value

    def mask_traceback(self, error: BaseException) -> str:
        """The traceback with causes, contexts, notes and groups; local variables never shown."""
        return self.mask("".join(traceback.format_exception(error)))


# The logging module and the exception hooks belong to the process, so this does as well:
# a secret is registered where it is read, and every writer masks it.
PROCESS_MASKER = Masker()
_LASTING = ExitStack()  # contexts of a worker that last as long as its process


def prepare_worker(secrets: tuple[str, ...]) -> None:
    """In a worker, before its first task: no secret and no library's own line gets out.

    Here and not where workers are started: a worker loads this module, and no command's modules.
    """
    silence_libraries()
    for secret in secrets:
        PROCESS_MASKER.register(secret)
    _LASTING.enter_context(masked_logging(PROCESS_MASKER, sys.stderr))


def _pattern(secret: str) -> re.Pattern[str]:
    content = secret.encode("utf-8", "surrogatepass")
    forms = [_written(secret)]
    forms += [form for offset in range(3) if (form := _base64_form(content, offset))]
    if len(content) >= _BASE64_LENGTH_MIN:
        forms.append(content.hex())
    return re.compile("|".join(forms), re.IGNORECASE)


def _written(text: str) -> str:
    """A pattern for the text with each character raw or escaped, whichever way."""
    # A run of backslashes may come multiplied by nested escaping, so it is one unit.
    units = re.findall(r"\\+|[^\\]", text, re.DOTALL)
    return "".join(_backslashes(unit) if unit[0] == "\\" else _character(unit) for unit in units)


def _backslashes(run: str) -> str:
    count = len(run)
    escaped = "|".join(_percent(b"\\"))
    return (
        rf"(?:\\{{{count},{count * _BACKSLASHES_MAX}}}|(?:{escaped}){{{count}}}"
        rf"|(?:{_SLASHES}u005c){{{count}}})"
    )


def _percent(content: bytes) -> list[str]:
    """URL-encoded up to three times over, the longest first."""
    return ["".join(f"%{again}{byte:02x}" for byte in content) for again in ("2525", "25", "")]


def _character(character: str) -> str:
    r"""Raw; backslash before it; \uXXXX, \xXX, %XX, named and HTML escapes."""
    utf8 = character.encode("utf-8", "surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass")
    pairs = [utf16[start : start + 2].hex() for start in range(0, len(utf16), 2)]
    forms = [  # raw last: a % alone would leave the rest of %25 standing
        "".join(rf"{_SLASHES}u{pair}" for pair in pairs),
        rf"{_SLASHES}U{ord(character):08x}",
        "".join(rf"{_SLASHES}x{byte:02x}" for byte in utf8),
        *_percent(utf8),
    ]
    if ord(character) <= 0xFF:  # noqa: PLR2004 - the reach of \xNN in repr
        forms.append(rf"{_SLASHES}x{ord(character):02x}")
    if character == " ":
        forms.append(r"\+")
    if character in _ESCAPES:
        forms.append(rf"{_SLASHES}{_ESCAPES[character]}")
    if character in _HTML:
        forms.append(f"&(?:{_HTML[character]});")
    forms.append(rf"(?:{_SLASHES})?{re.escape(character)}")
    return f"(?:{'|'.join(dict.fromkeys(forms))})"


def _base64_form(content: bytes, offset: int) -> str | None:
    """A pattern for the content in base64, `offset` bytes (mod 3) into the encoded text."""
    encoded = base64.b64encode(bytes(offset) + content).decode().rstrip("=")
    first = (offset * 8 + _BASE64_BITS - 1) // _BASE64_BITS  # the first of our bits alone
    end = (offset + len(content)) * 8 // _BASE64_BITS  # past it, other bits may be mixed in
    core = encoded[first:end]
    if len(core) < _BASE64_LENGTH_MIN:
        return None
    alphabets = {"+": r"\+|-|%2b", "/": r"\\{0,16}/|_|%2f"}
    body = "".join(f"(?:{alphabets[c]})" if c in alphabets else c for c in core)
    before = f"{_BASE64_CHARACTER}?" if first else ""
    return f"{before}{body}{_BASE64_CHARACTER}?(?:=|%3d)*+"


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
    """Keep gRPC from writing to stderr unmasked, unless the operator has set GRPC_VERBOSITY.

    Read when the library starts, so before that. Processes that are started later inherit it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@contextmanager
def silenced(libraries: tuple[str, ...]) -> Iterator[None]:
    """These libraries log nothing while this lasts, whatever level each of their loggers has."""
    loggers = [logging.getLogger(name) for name in libraries]
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.name.partition(".")[0] in libraries:
            loggers.append(logger)
    levels = {logger: logger.level for logger in loggers}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def masked_logging(masker: Masker, stream: TextIO) -> Iterator[None]:
    """Everything logged or raised unseen while this lasts is masked; warnings go to `stream`.

    Works at the record factory, because a filter on the root logger never sees the records of
    its children, and handlers of other libraries have no filter.
    """
    factory = logging.getLogRecordFactory()

    def masked_record(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        mask_record(record, masker)
        return record

    handler = logging.StreamHandler(_Written(stream))
    handler.setFormatter(MaskingFormatter(masker))
    root = logging.getLogger()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    logging.setLogRecordFactory(masked_record)
    root.addHandler(handler)
    logging.captureWarnings(capture=True)  # else a library's warning gets out as it is
    _install_hooks(masker, stream)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        root.removeHandler(handler)
        logging.setLogRecordFactory(factory)


class _Written:
    """Takes the lines of a handler to where all other texts go."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        write_text(self._stream, text)

    def flush(self) -> None:
        """Nothing: every text is flushed."""


def _install_hooks(masker: Masker, stream: TextIO) -> None:
    """Replace the interpreter's exception hooks, which print exceptions unmasked."""

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
