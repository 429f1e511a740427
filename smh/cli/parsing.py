"""What is typed, taken apart. A wrong call gives one line, with what was meant, and 2."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2."""
        # What a limit says names its flag already.
        text = re.sub(r"^argument (\S+): (?=\1\b)", "", message)
        stop = "" if text.endswith((".", "?")) else "."
        self.exit(2, f"{self.prog}: {text}{stop} See {self.prog} -h.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Called by argparse for each value of an argument with choices: commands, and `--to`.
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = "command" if action.dest == "command" else action.option_strings[0]
            there = f"there is no {what} {value!r:.60}"
            raise argparse.ArgumentError(None, f"{there}; {meant(str(value), known)}")


class CommandParser(Parser):
    """The parser of one command, which knows what a mistyped flag was meant to be."""

    def parse_known_args(self, args=None, namespace=None):
        """Takes the arguments of a command apart; an unknown flag is what is said first."""
        if args is not None:
            self._refuse_unknown_flags(args)
        return super().parse_known_args(args, namespace)

    def _refuse_unknown_flags(self, args: Sequence[str]) -> None:
        known = [flag for action in self._actions for flag in action.option_strings]
        for arg in args:
            if arg == "--":
                return
            flag = arg.partition("=")[0]
            if flag.startswith("--") and not any(one.startswith(flag) for one in known):
                self.error(f"there is no flag {flag:.60}; {meant(flag, known)}")


def meant(typed: str, known: Sequence[str]) -> str:
    """Says which of the names that there are is near to what was typed; else all of them."""
    near = difflib.get_close_matches(typed.lower(), known, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
