"""Shell completion: a script for bash, which zsh runs too, written from the parser itself."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

_SCRIPT = """\
# Completion of smh {version}, for {shell}: {install}
{first}_smh() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${{COMP_WORDS[i]}} in
      --import) ((i++)) ;;
      {commands}) command=${{COMP_WORDS[i]}}; break ;;
    esac
  done
  case "$command $before" in
{values}
    *) case "$command $word" in
{flags}
      " "*) words="{first_words}" ;;
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _smh smh
"""
_INSTALL = {
    "bash": "~/.local/share/bash-completion/completions/smh, or eval it in ~/.bashrc",
    "zsh": "eval it in ~/.zshrc, behind compinit",
}
_FIRST = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}
SHELLS = tuple(_INSTALL)


class PrintCompletion(argparse.Action):
    """Prints the script for a shell, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Is called by argparse, as `--version` is."""
        print(script(parser, str(values)), end="")
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Writes the completion of a parser with commands.

    Commands, flags, what a flag may be, names of models and data sets; files everywhere else.

    Args:
        parser: the whole command line.
        shell: one of `SHELLS`.
    """
    from smh import __version__

    commands = next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    values, flags = [], []
    for name, command in commands.items():
        flags.append(f'      "{name} -"*) words={shlex.quote(" ".join(_flags(command)))} ;;')
        for action in command._actions:
            known = _known(name, action)
            patterns = "|".join(f'"{name} {flag}"' for flag in action.option_strings)
            if known and patterns:
                values.append(f"    {patterns}) words={shlex.quote(' '.join(known))} ;;")
            elif patterns and action.nargs != 0:  # a file or a number: no flag can follow
                values.append(f"    {patterns}) ;;")
            elif known:
                flags.append(f'      "{name} "*) words={shlex.quote(" ".join(known))} ;;')
    return _SCRIPT.format(
        version=__version__,
        shell=shell,
        install=_INSTALL[shell],
        first=_FIRST[shell],
        commands="|".join(commands),
        values="\n".join(values),
        flags="\n".join(flags),
        first_words=" ".join([*commands, *_flags(parser)]),
    )


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag != "-q"]


def _known(command: str, action: argparse.Action) -> list[str]:
    """What an argument may be, where that can be listed; files are the shell's own business."""
    from smh.datasets.loading import names as data_sets
    from smh.zoo.known import names as models

    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if "--data" in action.option_strings:
        return list(data_sets())
    if (command, action.dest) in (("train", "model"), ("plan", "model")):
        return list(models())
    return []
