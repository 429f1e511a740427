"""Headless Chromium: what a page is after its script ran, what it looks like, what it complains of.

The tests that use it have the mark `browser`; where there is none they are skipped (`conftest`).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars
--disable-background-networking --disable-component-update --disable-sync --disable-extensions
--disable-dev-shm-usage --enable-logging=stderr""".split()


@dataclass(frozen=True)
class Seen:
    """What came of opening a page."""

    dom: str
    console: tuple[str, ...]


def executable() -> str | None:
    """The browser that there is."""
    return next(filter(shutil.which, _NAMES), None)


def _run(page: Path, profile: Path, *flags: str, fragment: str = "") -> Seen:
    address = page.resolve().as_uri() + (f"#{fragment}" if fragment else "")
    command = [executable(), *_FLAGS, f"--user-data-dir={profile}", *flags, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Seen(done.stdout, tuple(re.findall(r"CONSOLE.*?\] (.*)", done.stderr)))


def open_page(page: Path, profile: Path, fragment: str = "") -> Seen:
    """The page's elements after its script ran, and the lines of the console."""
    return _run(page, profile, "--dump-dom", fragment=fragment)


def picture(page: Path, profile: Path, width: int, *flags: str):
    """What is seen of the page's first 1200 pixels, `[height, width, 3]` from 0 to 1."""
    from matplotlib import image

    target = profile.parent / f"{profile.name}-{width}.png"
    _run(page, profile, f"--window-size={width},1200", f"--screenshot={target}", *flags)
    return image.imread(target)[..., :3]
