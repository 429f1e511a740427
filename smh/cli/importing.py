"""`smh import`: an old file of Keras into a new one."""

from __future__ import annotations

import argparse
import os
from typing import Any

from smh.cli.arguments import add_command
from smh.cli.files import check_output, import_own, start_keras
from smh.errors import ArgumentError
from smh.progress import task
from smh.training.foreign import explained, is_hdf5

_TEXT = """\
Reads a whole model from an HDF5 file, as Keras 2 wrote them, and writes a
.keras file, which all other commands take. Old files that Keras 3 refuses
(DepthwiseConv2D with groups) are read, too. Of other files (SavedModel,
PyTorch) it says how to get a .keras from them."""
_EXAMPLE = "  smh import old.h5 --to new.keras"


def add_commands(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "import", _import, "an old .h5 file into a .keras file", _TEXT, _EXAMPLE
    )
    parser.add_argument("file", metavar="FILE", help="an HDF5 file of a whole model")
    parser.add_argument("--to", dest="out", metavar="FILE", required=True, help="what to write")
    parser.add_argument("--force", action="store_true", help="replace it if it exists")


def _import(args: argparse.Namespace) -> None:
    check_output(args.out, args.force, (".keras",), "--to")
    if not os.path.exists(args.file):
        raise ArgumentError(f"{args.file}: No such file or directory")
    if os.path.isdir(args.file) or not is_hdf5(args.file):
        raise ArgumentError(explained(args.file))
    start_keras()
    import_own(args.imports)
    from smh.training.old_files import import_model

    with task(f"reading {args.file}"):
        model = import_model(args.file, args.out)
    if not args.quiet:
        print(
            f"{args.out}: {os.path.getsize(args.out):,} bytes; '{model.name}', "
            f"{model.count_params():,} numbers, {len(model.layers)} layers"
        )
