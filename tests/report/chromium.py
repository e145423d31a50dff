"""A headless Chromium that tests drive by its debugging pipe, with the standard library only."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = next(
    (
        path
        for path in (
            Path(os.environ.get("AXE_CORE", "nowhere")),
            Path("node_modules/axe-core/axe.min.js"),
            Path("/usr/lib/node_modules/axe-core/axe.min.js"),
            Path("/usr/local/lib/node_modules/axe-core/axe.min.js"),
            Path("/usr/share/nodejs/axe-core/axe.min.js"),
        )
        if path.is_file()
    ),
    None,
)
"""The script of axe-core; ``npm install axe-core``, or a path in AXE_CORE."""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, "Tab": 9, "Home": 36, "End": 35, "Enter": 13, "+": 187}


class Tab:
    """One tab of the browser."""

    def __init__(self, send: int, receive: int):
        self._send, self._receive, self._rest, self._number = send, receive, b"", 0
        self._session = ""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.errors: list[str] = []
        self.call("Runtime.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; errors of scripts are collected on the way."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(answer["params"]["exceptionDetails"])[:500])
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._receive, 1 << 16)
            if not part:
                raise RuntimeError("the browser has gone")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def open(self, page: Path, *, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Load a page in a window of this size and theme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[theme])
        self.call("Page.navigate", url=page.as_uri())
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """Run an expression in the page and return its value; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:1000])
        return answer["result"].get("value")

    def count(self, selector: str) -> int:
        """Count elements, without a script."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return len(self.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"])

    def wait(self, selector: str) -> None:
        """Wait until an element is there, without a script; at most ten seconds."""
        for _ in range(200):
            with suppress(RuntimeError):  # the page may change between the two calls of `count`
                if self.count(selector):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{selector} is not there")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key as a person does."""
        keys: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": _KEYS[key], "code": key}
        if len(key) == 1:
            keys["text"] = key
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown" if "text" in keys else "rawKeyDown", **keys)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=_KEYS[key], code=key)

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = False) -> None:
        """Move, press or release the mouse."""
        button = {"button": "left", "buttons": 1, "clickCount": 1} if pressed or kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def picture(self) -> bytes:
        """Return the window as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Start a browser and yield its tab."""
    assert CHROMIUM is not None
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    # the browser expects its pipe at 3 and 4; a shell puts it there, because a process with threads may not be forked
    # to run Python in
    connect = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "connect"]
    command = [*connect, CHROMIUM, *FLAGS, "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        [*command, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs_in, theirs_out),
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Tab(ours_out, ours_in)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
