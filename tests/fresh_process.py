"""Processes that begin where an import ends, without the seconds that it takes.

Many laws hold "in a new process": that of a user who loads what another process saved. Starting
TensorFlow takes six seconds of processor time. So one process imports Keras and nothing else, and
is forked for each script: what runs there has never seen the tests' models, nor smh.

Not for tests of what an import does, nor of environment variables that Keras or TensorFlow read
when they are imported: these start Python.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Forked:
    """Runs scripts in forks of a process that has run the code `before`."""

    def __init__(self, before):
        self._before = before
        self._server = None

    def run(self, script, *arguments, cwd=None):
        """Runs a file, or code if it is no `Path`, as `python script *arguments` does.

        Returns:
            A `subprocess.CompletedProcess` with text in `stdout` and `stderr`.
        """
        given = [str(argument) for argument in arguments]
        if not hasattr(os, "fork"):
            code = script.read_text() if isinstance(script, Path) else script
            return subprocess.run(
                [sys.executable, "-c", f"{self._before}\n{code}", *given],
                cwd=cwd, env=_environment(), capture_output=True, text=True,
            )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            request = {
                "file": str(script) if isinstance(script, Path) else None,
                "code": None if isinstance(script, Path) else script,
                "arguments": given,
                "cwd": os.fspath(cwd or os.getcwd()),
                "environment": dict(os.environ),
                "outputs": [f"{folder}/out", f"{folder}/err"],
            }
            status = self._ask(json.dumps(request))
            texts = [Path(name).read_text(errors="replace") for name in request["outputs"]]
        return subprocess.CompletedProcess([script, *given], status, *texts)

    def _ask(self, request):
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [sys.executable, __file__, self._before],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(),
            )  # fmt: skip
            atexit.register(self._server.stdin.close)  # it ends where there is nothing to read
        self._server.stdin.write(request + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def _environment():
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


run = Forked("import keras").run


def _serve(before):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    exec(before, {})
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


def _child(request):
    """Does what the interpreter does with a script, and ends."""
    for number, name in zip((1, 2), request["outputs"], strict=True):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = [request["file"] or "-c", *request["arguments"]]
    sys.path[0] = str(Path(request["file"]).parent) if request["file"] else ""
    own = {"__name__": "__main__", "__builtins__": __builtins__, "__file__": request["file"]}
    main = type(sys)("__main__")
    main.__dict__.update(own)
    sys.modules["__main__"] = main
    code = Path(request["file"]).read_text() if request["file"] else request["code"]
    status = 0
    try:
        exec(compile(code, request["file"] or "<string>", "exec"), main.__dict__)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
