"""`smh report` and `smh inspect`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import add_command, add_json, add_model, show
from smh.cli.files import artifact_file, check_output, model_file, open_model

if TYPE_CHECKING:
    from smh.sizes.rows import SizeReport


def add_commands(commands: Any) -> None:
    """Adds both commands."""
    parser = add_command(
        commands,
        "report",
        _report,
        "what each weight of a model costs",
        "Lists how each weight is stored, how many of its numbers are trained, and how\n"
        "many bytes they take. --html writes a page for a browser, with pictures: of the\n"
        "layers and pools, of the bytes of a .smh file, and of a run directory also the\n"
        "curves of the training and the scans (CSV files) that lie in it.",
        "  smh report small.keras --csv sizes.csv\n"
        "  smh report runs/lenet_5-digits-0.1 --html report.html",
    )
    add_model(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the table as CSV, too")
    add_json(parser)
    parser.add_argument("--html", metavar="FILE", help="write a page for a browser, too")
    parser.add_argument("--force", action="store_true", help="replace these files if they exist")

    parser = add_command(
        commands,
        "inspect",
        _inspect,
        "what is inside a .smh file, byte by byte",
        "Lists what a .smh file holds, and checks it: a damaged one is an error.",
        "  smh inspect small.smh\n  smh inspect runs/lenet_5-digits-0.1",
    )
    parser.add_argument("file", metavar="FILE", help="a .smh file, or a run directory")
    add_json(parser)


def _report(args: argparse.Namespace) -> None:
    for path, suffix in ((args.csv, ".csv"), (args.html, ".html")):
        if path is not None:
            check_output(path, args.force, (suffix,), f"--{suffix[1:]}")
    sizes = _sizes(args)
    names = ("original_params", "trained_params", "original_bytes", "bytes", "packed")
    file = _file(args)
    more = {name: getattr(sizes, name) for name in names}
    show(args, sizes, **more, file_bytes=os.path.getsize(file))
    if not args.json:
        print(f"{file}: {os.path.getsize(file):,} bytes")
    if args.csv is not None:
        sizes.to_csv(args.csv)
    if args.html is not None:
        from smh.report_page import write_page

        write_page(args.html, sizes, args.model)
        if not args.json:
            print(f"{args.html}: a page for a browser")


def _sizes(args: argparse.Namespace) -> SizeReport:
    """The report of a model; of a `.smh` file, or of a run, which has one, without Keras."""
    file = _file(args)
    found = None
    if file.endswith(".smh"):
        from smh.sizes.file_report import report_of_file

        found = report_of_file(file)
    if found is not None:
        return found
    model = open_model(args)
    import smh

    return smh.report(model)


def _file(args: argparse.Namespace) -> str:
    """The file that is read: of a run the small one."""
    return artifact_file(args.model) if os.path.isdir(args.model) else model_file(args.model)


def _inspect(args: argparse.Namespace) -> None:
    from smh.artifact.inspection import inspect

    found = inspect(artifact_file(args.file))
    show(args, found, bytes=found.bytes)
