"""Headless Chromium, driven by the W3C's WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import debian

T = TypeVar("T")
# Debian's packages, by a file of each.
PACKAGES = {"/usr/bin/chromium": "chromium", "/usr/bin/chromedriver": "chromium-driver",
            "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core"}  # fmt: skip
# No sandbox where tests run as root; and nothing that would ask other machines.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-component-update", "--disable-background-networking", "--disable-sync")  # fmt: skip
PATIENCE = 60.0  # seconds for what takes less than one
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowDown": "\ue015", "End": "\ue010"}


def install() -> None:
    """Install Chromium and its driver where they are missing. Raises debian.PackagesMissing."""
    debian.install(PACKAGES)


class Browser:
    """A new browser, with a profile of its own.

    Args:
        size: of its window, in pixels.
        dark: whether its user prefers dark colours.
    """

    def __init__(self, size: tuple[int, int] = (1400, 900), *, dark: bool = False) -> None:
        self._profile = tempfile.mkdtemp(prefix="aiflow-chromium-")
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True)  # fmt: skip
        assert self._driver.stdout is not None
        port = next(
            line.rstrip(".\n").rsplit(" ", 1)[1] for line in self._driver.stdout if "successfully on port " in line
        )
        self._base = f"http://127.0.0.1:{port}/session"
        flags = [*FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={self._profile}"]
        options = {"args": [*flags, "--force-dark-mode"] if dark else flags}
        logs = {"browser": "ALL"}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}
        self._session = self._call("POST", "", {"capabilities": wanted})["sessionId"]
        if dark:
            media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            self._devtools("Emulation.setEmulatedMedia", media)

    def close(self) -> None:
        """End it."""
        try:
            self._call("DELETE", f"/{self._session}")
        finally:
            self._driver.kill()
            self._driver.wait()
            shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self._do("POST", "url", {"url": url})

    def open_tab(self, url: str) -> str:
        """Go to an address in a new tab, which is the one that is seen from now on; returns its name."""
        tab = str(self._do("POST", "window/new", {"type": "tab"})["handle"])
        self.show_tab(tab)
        self.open(url)
        return tab

    def show_tab(self, tab: str) -> None:
        """Have another tab be the one that is seen."""
        self._do("POST", "window", {"handle": tab})
        self._devtools("Page.bringToFront", {})

    @property
    def url(self) -> str:
        """The address that its bar shows."""
        return str(self._do("GET", "url"))

    def run(self, script: str, *args: Any) -> Any:
        """What a script returns; a promise is waited for."""
        return self._do("POST", "execute/sync", {"script": script, "args": list(args)})

    def in_frame(self, css: str, script: str) -> Any:
        """What a script returns that is run in a frame, whatever the frame may do itself."""
        frame = self._do("POST", "element", {"using": "css selector", "value": css})
        self._do("POST", "frame", {"id": frame})
        try:
            return self.run(script)
        finally:
            self._do("POST", "frame", {"id": None})

    def text(self, css: str = "body") -> str:
        """The text of an element as it is seen; empty where there is none."""
        find = (
            "const found = document.querySelector(arguments[0]); return found && (found.innerText ?? found.textContent)"
        )
        return str(self.run(find, css) or "")

    def click(self, css: str, words: str = "") -> None:
        """Click the first element that fits and has these words, once it is there."""
        find = ("return [...document.querySelectorAll(arguments[0])].find((each) => "
                "(each.innerText ?? each.textContent).includes(arguments[1]) && !each.disabled) || null")  # fmt: skip
        found = self.until(lambda: self.run(find, css, words), f"{css} with {words!r}")
        self._do("POST", f"element/{found[_ELEMENT]}/click", {})

    def type(self, words: str, css: str | None = None) -> None:
        """Type text, or a key of KEYS, into an element, or where the focus is."""
        found = (
            self._do("POST", "element", {"using": "css selector", "value": css})
            if css
            else self._do("GET", "element/active")
        )
        self._do("POST", f"element/{found[_ELEMENT]}/value", {"text": KEYS.get(words, words)})

    def until(self, look: Callable[[], T], what: str) -> T:
        """Look again and again until there is something, and return that."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, f"not seen: {what}; the page says:\n{self.text()[:3000]}"
            time.sleep(0.02)
        return found

    def busy(self) -> float:
        """Seconds of processor time that the page has needed so far."""
        self._devtools("Performance.enable", {"timeDomain": "threadTicks"})
        metrics = {each["name"]: each["value"] for each in self._devtools("Performance.getMetrics", {})["metrics"]}
        return float(metrics["TaskDuration"])

    def until_true(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true."""
        self.until(lambda: self.run(f"return {expression}"), expression)

    def see(self, words: str, css: str = "body") -> str:
        """Wait until an element says these words; returns all that it says."""
        return self.until(lambda: words in (text := self.text(css)) and text, f"{words!r} in {css}") or ""

    def screenshot(self, path: Path) -> None:
        """Save what is seen as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._do("GET", "screenshot")))

    def resize(self, width: int, height: int) -> None:
        """Give its window another size, in pixels."""
        self._do("POST", "window/rect", {"width": width, "height": height})

    def complaints(self) -> list[str]:
        """What the page and the browser have written to its console as errors, since the last call."""
        return [
            each["message"] for each in self._do("POST", "se/log", {"type": "browser"}) if each["level"] == "SEVERE"
        ]

    def _devtools(self, command: str, params: dict[str, Any]) -> Any:
        return self._do("POST", "goog/cdp/execute", {"cmd": command, "params": params})

    def _do(self, method: str, what: str, data: dict[str, Any] | None = None) -> Any:
        return self._call(method, f"/{self._session}/{what}", data)

    def _call(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._base + path, body, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].split("\n")[0]) from None
