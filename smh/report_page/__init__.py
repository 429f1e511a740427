"""A model's sizes as a page for a browser: one file, without anything from elsewhere.

The page shows how many numbers and bytes the model has, each layer and how it is stored, the pools
and which part of them each weight takes; of a `.smh` file its bytes, of a run directory the curves
of the training and the scans that lie there.
"""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources

import smh
from smh.container.replacing import replacing
from smh.errors import ArgumentError
from smh.report_page.curves import scan_section, training_section
from smh.report_page.file_parts import file_section
from smh.report_page.found import Found, best_of, look_into
from smh.report_page.layers import layers_section, patterns
from smh.report_page.pools import pool_section
from smh.sensitivity.words import score
from smh.sizes.rows import SizeReport
from smh.tables.markup import Markup, tag

__all__ = ["write_page"]


def write_page(
    path: str | os.PathLike, sizes: SizeReport, source: str | os.PathLike | None = None
) -> None:
    """Writes a page that shows a model's sizes, replacing `path` only once all is written.

    Args:
        path: the file to write, by custom `*.html`.
        sizes: what `smh.report(model)` returned.
        source: what the model was loaded from, a file or a run directory; what else is known of it
            is shown too.

    Raises:
        ArgumentError: `sizes` is something else.
        ArtifactError: a file in `source` is damaged. Nothing was written.
        OSError: from the file system; an old file is whole.

    Example:
        >>> from smh.report_page import write_page
        >>> write_page("report.html", smh.report(model))
    """
    if not isinstance(sizes, SizeReport):
        raise ArgumentError(
            f"sizes must be what smh.report(model) returned, got {type(sizes).__name__}."
        )
    page = _page(sizes, look_into(source))
    # A name from a file system may hold bytes that are no text.
    data = page.encode("utf-8", "backslashreplace")
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(data)


def _page(sizes: SizeReport, found: Found) -> str:
    css, script = _file("page.css"), _file("page.js")
    # Nothing is loaded, and no other script runs, whatever the names in a file try.
    policy = f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{sizes.name}: smh report"),
        tag("style", css),
    )
    body = tag("body", patterns(), *_sections(sizes, found), tag("script", script))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(sizes: SizeReport, found: Found) -> list[Markup]:
    sections: list[Markup | None] = [_headline(sizes, found), layers_section(sizes.rows)]
    sections += [pool_section(pool) for pool in sizes.pools]
    if found.inspection is not None:
        sections.append(file_section(found.inspection, os.path.basename(found.inspection.path)))
    sections.append(training_section(found.metrics))
    sections += [scan_section(scan) for scan in found.scans]
    foot = tag("footer", f"Written by smh {smh.__version__}.")
    return [section for section in [*sections, foot] if section is not None]


def _headline(sizes: SizeReport, found: Found) -> Markup:
    share = sizes.trained_params / max(1, sizes.original_params)
    tiles = [
        _tile(
            "trained numbers",
            sizes.trained_params,
            f"{share:.2%} of {sizes.original_params:,}",
        ),
        _tile("bytes in memory", sizes.bytes, f"{sizes.original_bytes:,} for the dense model"),
    ]
    if sizes.packed != sizes.bytes:
        tiles.append(_tile("bytes packed", sizes.packed, "in the bits that are computed with"))
    tiles += [_tile("bytes on disk", size, name) for name, size in found.files]
    if found.result is not None:
        name, count = best_of(found.result), f"{found.result['test_images']:,.0f} examples"
        tiles.append(_tile(name.replace("_", " "), score(name, found.result[name]), count))
    kicker = [tag("p", found.source, class_="note")] if found.source else []
    return tag("header", tag("h1", sizes.name), *kicker, tag("dl", *tiles, class_="tiles"))


def _tile(name: str, value: int | str, note: str) -> Markup:
    shown = f"{value:,}" if isinstance(value, int) else value
    number = tag("dd", shown, class_="figure")
    return tag("div", tag("dt", name), number, tag("dd", note, class_="note"))


def _file(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text("utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
