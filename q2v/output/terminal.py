"""Text that is safe to put on a terminal, whatever the data holds and the terminal can show."""

from typing import TextIO


def escape_terminal(text: str) -> str:
    """One line without control characters, ANSI escapes, or invisible and direction marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escape_lines(text: str) -> str:
    """The same for a text of q2v, whose line ends stay."""
    return "\n".join(map(escape_terminal, text.split("\n")))


def write_text(stream: TextIO | None, text: str) -> None:
    """Write and flush; characters the stream cannot encode come out escaped.

    None, which Python gives for a stream that the caller has closed, takes nothing.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
