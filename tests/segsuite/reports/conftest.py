"""Pages are opened in a real browser where there is one."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader", "--use-angle=swiftshader",
    "--window-size=1100,2600", "--virtual-time-budget=20000",
]  # fmt: skip
LISTEN = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
console.error = (...words) => problems.push(words.join(" "));
</script>"""


@dataclass(frozen=True)
class Browsed:
    """A page after its scripts have run.

    Attributes:
        problems: Errors of the console.
        found: What the test's own script returned.
        picture: Screenshot (height, width, channels).
    """

    problems: list[str]
    found: Any
    picture: np.ndarray


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., Browsed]:
    """Opens a page, and runs the body of an asynchronous function in it once the page is idle."""
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs a browser, none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")

    def look(page: Path, script: str = "return null;") -> Browsed:
        report = f"""<script>setTimeout(async () => {{
            let found; try {{ found = await (async () => {{ {script} }})(); }} catch (error) {{ problems.push(String(error)); }}
            const box = document.createElement("template"); box.id = "browsed";
            box.dataset.json = btoa(JSON.stringify({{ problems, found: found ?? null }})); document.body.append(box);
        }}, 10000)</script>"""
        watched = tmp_path / f"watched_{page.name}"
        before, _, after = page.read_text().replace("<head>", f"<head>{LISTEN}", 1).rpartition("</body>")
        watched.write_text(f"{before}{report}</body>{after}")
        command = [program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", watched.resolve().as_uri()]
        dom = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout
        match = re.search(r'data-json="([^"]+)"', dom)
        assert match is not None, "the page's scripts did not end"
        said = json.loads(base64.b64decode(match.group(1)))
        return Browsed(said["problems"], said["found"], imread(tmp_path / "page.png"))

    return look
