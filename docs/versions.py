"""Lists the versions of the site: `python docs/versions.py FOLDER`, after one was built into it.

`FOLDER` has a folder for each version. Written are `versions.json`, which every page reads to offer
the others (`static/versions.js`), and `index.html`, which leads to the newest.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_VERSION = re.compile(r"\d+(\.\d+)+([a-z]+\d+)?")
_FORWARD = """<!doctype html>
<meta charset="utf-8">
<title>smh</title>
<meta http-equiv="refresh" content="0; url={newest}/index.html">
<a href="{newest}/index.html">smh {newest}</a>
"""


def newest_first(names: list[str]) -> list[str]:
    """Sorts versions by their numbers; one that is not final comes before its final one."""

    def key(name: str):
        numbers = [int(part) for part in re.match(r"[\d.]+", name)[0].strip(".").split(".")]
        rest = re.sub(r"^[\d.]+", "", name)
        return numbers, rest == "", rest

    return sorted(names, key=key, reverse=True)


def main(folder: Path) -> None:
    """Writes both files."""
    found = [path.name for path in folder.iterdir() if (path / "index.html").is_file()]
    versions = newest_first([name for name in found if _VERSION.fullmatch(name)])
    if not versions:
        sys.exit(f"{folder} has no version: a folder such as 0.1.0 with an index.html.")
    (folder / "versions.json").write_text(json.dumps(versions) + "\n")
    (folder / "index.html").write_text(_FORWARD.format(newest=versions[0]))
    print(f"{folder}: {', '.join(versions)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
