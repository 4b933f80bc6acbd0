"""`tessera` in a process of its own, without the second that Python takes to import it: forked from one that has.

done = run(["migrate"], folder, environment, "")
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

TIMEOUT_SECONDS = 60
STREAMS = ("stdin", "stdout", "stderr")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", "gateway.cli", __name__])
_turn = Lock()
"""One at a time: what is started looks after the others that were, on whichever thread."""


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: str = ""
) -> CompletedProcess[str]:
    """How it ended, in this folder and this environment; it has a minute."""
    with TemporaryDirectory() as place, _turn:
        paths = [Path(place) / stream for stream in STREAMS]
        paths[0].write_text(stdin)
        status = _ended(_become, arguments, folder, dict(environment), paths)
        return CompletedProcess(arguments, status, *(path.read_text() for path in paths[1:]))


def status_of(function: Callable[..., None], *arguments: Any) -> int:
    """Of a process that calls a function of some module; negative where a signal ended it."""
    with _turn:
        return _ended(function, *arguments)


def _ended(function: Callable[..., None], *arguments: Any) -> int:
    process = _processes.Process(target=function, args=arguments)
    process.start()
    process.join(TIMEOUT_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _become(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], paths: Sequence[Path]) -> None:
    from gateway import cli  # noqa: PLC0415  # tests that start nothing need not import it

    for descriptor, path in enumerate(paths):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    sys.stdin = open(0)  # noqa: SIM115  # multiprocessing closed the former
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tessera", *arguments]
    cli.main()
