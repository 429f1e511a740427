"""Processes that begin where `import keras` ends, without the seconds that it takes.

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

_SERVER = None


def run(script, *arguments, cwd=None):
    """Runs a file, or code if it is no `Path`, as `python script *arguments` does.

    Returns:
        A `subprocess.CompletedProcess` with text in `stdout` and `stderr`.
    """
    given = [str(argument) for argument in arguments]
    if not hasattr(os, "fork"):
        command = [str(script)] if isinstance(script, Path) else ["-c", script]
        return subprocess.run(
            [sys.executable, *command, *given], cwd=cwd, capture_output=True, text=True
        )
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "file": str(script) if isinstance(script, Path) else None,
            "code": None if isinstance(script, Path) else script,
            "arguments": given,
            "cwd": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ),
            "outputs": [f"{folder}/out", f"{folder}/err"],
        }
        status = _ask(json.dumps(request))
        texts = [Path(name).read_text(errors="replace") for name in request["outputs"]]
    return subprocess.CompletedProcess([script, *given], status, *texts)


def _ask(request):
    global _SERVER
    if _SERVER is None or _SERVER.poll() is not None:
        _SERVER = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(_SERVER.stdin.close)  # it ends when there is nothing more to read
    _SERVER.stdin.write(request + "\n")
    _SERVER.stdin.flush()
    return int(_SERVER.stdout.readline())


def _serve():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    import keras  # noqa: F401

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
    _serve()
