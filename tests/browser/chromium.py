"""Drive a headless Chromium over its pipe: the DevTools protocol without a port or a library.

Messages are JSON objects that end with a zero byte: those to the browser go to its descriptor 3,
its own come from descriptor 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.texts.named import ROOT

AXE = ROOT / "worker" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_S = 120.0  # for any answer or event; a busy machine is slow, a broken page is silent
_READ_BYTES = 1 << 20

# Puts the two pipes where the browser expects them, then becomes the browser.
_WIRE = """import os, sys
reading, writing = (os.dup(int(number)) for number in sys.argv[1:3])
os.dup2(reading, 3)
os.dup2(writing, 4)
os.set_inheritable(3, True)
os.set_inheritable(4, True)
os.execv(sys.argv[3], sys.argv[3:])
"""

Message = dict[str, Any]


class BrowserMissingError(Exception):
    """There is no Chromium on this machine."""


def find_chromium() -> str:
    """The program; raises BrowserMissingError that says what to do."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise BrowserMissingError(
        "found no Chromium: run `make browser-test` as root or with sudo, which installs Debian's "
        f"package, or put one of {', '.join(NAMES)} into PATH"
    )


class Browser:
    """A running browser. One message is answered at a time; events are kept in between."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._last_id = 0
        self.events: list[Message] = []

    def call(self, method: str, session: str | None = None, **params: object) -> Message:
        """Send a command; returns its result."""
        self._last_id += 1
        message: Message = {"id": self._last_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next_message()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: Message = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str, matches: Callable[[Message], bool] = bool) -> Message:
        """The first event of this kind, of those before too; `matches` is given its parameters."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                params = {"": "", **event.get("params", {})}
                if event.get("method") == method and matches(params):
                    return params
            seen = len(self.events)
            self.events.append(self._next_message())

    def _write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._to, content) :]

    def _next_message(self) -> Message:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], WAIT_S)
            assert ready, f"the browser said nothing for {WAIT_S:.0f} s"
            content = os.read(self._from, _READ_BYTES)
            assert content, "the browser has ended"
            self._rest += content
        line, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(line)
        return message


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; ended and its process awaited at the end."""
    to_child, to_browser = os.pipe()
    from_browser, from_child = os.pipe()
    command = [
        find_chromium(),
        "--headless=new",
        "--no-sandbox",  # the tests run as root in containers, where the sandbox cannot start
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--no-default-browser-check",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
        "about:blank",
    ]
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a program of this machine
            [sys.executable, "-c", _WIRE, str(to_child), str(from_child), *command],
            pass_fds=(to_child, from_child),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    os.close(to_child)
    os.close(from_child)
    browser = Browser(to_browser, from_browser)
    try:
        yield browser
        browser.call("Browser.close")
    finally:
        try:
            process.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to_browser)
        os.close(from_browser)


@dataclass
class Page:
    """One tab."""

    browser: Browser
    session: str

    def call(self, method: str, **params: object) -> Message:
        """A command to this tab."""
        return self.browser.call(method, self.session, **params)

    def open(self, path: Path) -> None:
        """Show a file, and return when it is loaded and its script has run."""
        self.visit(path.as_uri())

    def visit(self, address: str) -> None:
        """Show what an address answers with, and return when it is loaded."""
        self.browser.events.clear()
        self.call("Page.navigate", url=address)
        self.browser.wait_for("Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """The value of an expression in the page, as JSON; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900, *, mobile: bool = False) -> None:
        """The size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def media(self, *, scheme: str = "light", kind: str = "") -> None:
        """Light or dark; `kind` may be print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def type(self, text: str) -> None:
        """Type into what has the focus, one key after the other, with a frame after each."""
        for char in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=char, key=char)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=char)
            self.settle()

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key without a character of its own, such as Tab (9), or Enter (13) with its text."""
        common: Message = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)
        self.settle()

    def settle(self) -> None:
        """Wait for two frames: what an event has asked for is then in the document."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that a selector finds."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(self.run(f"{found}.map(one => one.textContent.trim())"))

    def click(self, selector: str) -> None:
        """Click the first element that a selector finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def serious(self) -> list[object]:
        """What axe-core finds in the page that is serious or critical, and where."""
        self.run(AXE.read_text(encoding="utf-8"))
        found: list[list[object]] = self.run(
            "axe.run(document, {resultTypes: ['violations']}).then(all => all.violations.map("
            "one => [one.id, one.impact, one.nodes.map(node => node.html + node.failureSummary)]))"
        )
        return [one for one in found if one[1] in {"serious", "critical"}]

    def complaints(self) -> list[str]:
        """What the browser has complained about since the page was opened."""
        kinds: dict[str, Callable[[Message], str]] = {
            "Runtime.exceptionThrown": lambda params: params["exceptionDetails"]["text"],
            "Runtime.consoleAPICalled": lambda params: str(params["args"]),
            "Log.entryAdded": lambda params: params["entry"]["text"],
            "Page.javascriptDialogOpening": lambda params: f"a dialog: {params['message']}",
        }
        return [
            kinds[event["method"]](event["params"])
            for event in self.browser.events
            if event.get("method") in kinds
        ]

    def requests(self) -> list[str]:
        """The addresses that the page has asked for since it was opened."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


@contextmanager
def opened_page(profile: Path) -> Iterator[Page]:
    """A tab of a browser of its own."""
    with running_browser(profile) as browser:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(browser, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        yield page


if __name__ == "__main__":
    try:
        find_chromium()
    except BrowserMissingError:
        sys.exit(1)
