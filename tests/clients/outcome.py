"""One line per command of a client; imports nothing but the standard library."""

import sys
import traceback
from collections.abc import Callable


class Outcomes:
    """Runs commands and prints what became of each."""

    def __init__(self, client: str) -> None:
        self._client = client
        self.failed = 0

    def works(self, name: str, command: Callable[[], object], check: object = None) -> object:
        """The command must succeed; `check`, if callable, must hold for its result."""
        try:
            result = command()
        except Exception:  # noqa: BLE001 - whatever a client raises is the outcome
            self._print("FAILED", name, traceback.format_exc(limit=1))
            return None
        if callable(check) and not check(result):
            self._print("FAILED", name, f"unexpected result: {result!r:.500}")
        else:
            self._print("ok", name)
        return result

    def refused(self, name: str, command: Callable[[], object], words: str) -> None:
        """The command must fail, and the words must be in what it says."""
        try:
            result = command()
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the outcome
            response = getattr(error, "response", None)  # falsy for a refusal, so compare to None
            said = f"{error} {response.text}" if response is not None else str(error)
            if words in said:
                self._print("refused as expected", name)
            else:
                self._print("FAILED", name, f"refused, but for another reason: {said:.500}")
        else:
            self._print("FAILED", name, f"was to be refused, gave {result!r:.300}")

    def _print(self, outcome: str, name: str, detail: str = "") -> None:
        self.failed += outcome == "FAILED"
        sys.stdout.write(f"{outcome}: {self._client} {name}\n")
        if detail:
            sys.stdout.write(f"    {detail}\n")
        sys.stdout.flush()
