"""The whole lines of a file that somebody else appends to, read as they come."""

from pathlib import Path


class GrowingLines:
    """Grows only: a torn last line is not there yet, whatever becomes of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._read_bytes = 0

    def refreshed(self) -> list[bytes]:
        """Every line so far, without newlines; a file that is not there yet has none."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except FileNotFoundError:
            return self._lines
        whole = content[: content.rfind(b"\n") + 1]
        self._lines += whole.split(b"\n")[:-1]
        self._read_bytes += len(whole)
        return self._lines
