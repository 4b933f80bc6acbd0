"""What a process does to its files and sockets, by strace, and what of it would be left if the machine stopped.

tessera.command = [*traced(trace), COMMAND]
...
for sent in Disk(files).answers(trace, b"HTTP/1.1 200"):
    ...  # what is in `kept` of the disk now was synced before this answer began
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.programs import needs, place_of

NEEDS_STRACE = needs("strace")
SYNCS = {"fdatasync", "fsync"}
WRITES = {"pwrite64", "ftruncate"}
UNREAD = {"pwritev", "pwritev2", "io_submit", "io_uring_enter"}
"""Ways to write that nobody takes as yet."""
SENDS = {"write", "writev", "sendto", "sendmsg"}
MOST_SHOWN_BYTES = 100_000

LINE = re.compile(r"(?P<task>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)")
ARGUMENTS = re.compile(r"\d+<(?P<path>[^>]*)>(?P<rest>.*)")
TEXT = re.compile(r'"([^"]*)"')
LAST_NUMBER = re.compile(r", (\d+)(?:\) += | <unfinished)")
RESULT = re.compile(r"\) += (-?\d+)")


def traced(trace: Path) -> list[str | Path]:
    """What stands before a command so that its calls are written there, in their order."""
    strace = place_of("strace")
    assert strace, "strace is not here"
    names = ",".join(sorted(SYNCS | WRITES | UNREAD | SENDS))
    whole = ["-xx", "-y", "-s", str(MOST_SHOWN_BYTES)]
    return [
        strace,
        "-f",
        "--seccomp-bpf",
        "-qq",
        *whole,
        "-e",
        f"trace={names}",
        "-e",
        "signal=none",
        "-o",
        trace,
        "--",
    ]


class Call(NamedTuple):
    """One to the kernel: of which file, with which bytes, and its last argument where that is a number."""

    name: str
    path: str
    data: bytes
    number: int


class Moment(NamedTuple):
    """A call begins, and ends; others may come in between."""

    call: Call
    task: str
    is_end: bool
    is_done: bool = False


def moments(trace: Path) -> Iterator[Moment]:
    begun: dict[str, Call] = {}
    with trace.open() as lines:
        for line in lines:
            if not (found := LINE.match(line)):
                continue
            task, rest = found["task"], found["rest"]
            if not found["resumed"]:
                begun[task] = call_of(found["name"], rest)
                yield Moment(begun[task], task, is_end=False)
            if result := RESULT.search(rest):
                yield Moment(begun.pop(task), task, is_end=True, is_done=int(result[1]) >= 0)


def call_of(name: str, arguments: str) -> Call:
    found = ARGUMENTS.match(arguments)
    path, rest = (found["path"], found["rest"]) if found else ("", "")
    number = LAST_NUMBER.search(rest)
    data = b"".join(unescaped(text) for text in TEXT.findall(rest))
    return Call(name, unescaped(path).decode(errors="replace"), data, int(number[1]) if number else 0)


def unescaped(text: str) -> bytes:
    """Of `-xx`, in which every byte of a text is \\xNN, a path's too, and nothing else is."""
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


@dataclass
class Disk:
    """Some files: as programs see them, and as they would be found after the machine stopped."""

    written: dict[str, bytearray]
    kept: dict[str, bytes] = field(init=False)
    syncs: int = 0
    _under_way: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = {path: bytes(content) for path, content in self.written.items()}

    def answers(self, trace: Path, *marks: bytes) -> Iterator[Call]:
        """Whatever is sent that has these marks, each when it begins: the disk is then as it was at that moment."""
        for moment in moments(trace):
            call = moment.call
            if call.path in self.written:
                self._take(moment)
            elif call.name in SENDS and not moment.is_end and all(mark in call.data for mark in marks):
                yield call

    def _take(self, moment: Moment) -> None:
        call, task = moment.call, moment.task
        assert call.name not in UNREAD | SENDS, call.name
        if call.name in SYNCS and not moment.is_end:
            self._under_way[task] = bytes(self.written[call.path])
        elif call.name in SYNCS and moment.is_done:
            self.kept[call.path] = self._under_way.pop(task)
            self.syncs += 1
        elif moment.is_done:
            self._write(call)

    def _write(self, call: Call) -> None:
        content = self.written[call.path]
        if call.name == "ftruncate":
            del content[call.number :]
        content.extend(bytes(max(call.number - len(content), 0)))
        content[call.number : call.number + len(call.data)] = call.data
