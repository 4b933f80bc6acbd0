"""What is sent to the database, to prove that it doesn't grow with the rows.

with statements() as sent:
    await list_tiles()
assert len(sent) == 4
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

CLIENT = logging.getLogger("tortoise.db_client")  # of both databases: it logs each statement when it is sent


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.sent: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args
        if isinstance(arguments, tuple) and arguments:  # without arguments it is a script: only tests run any
            self.sent.append(str(arguments[0]))


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL statements that are sent meanwhile, from every task, in their order; less BEGIN and COMMIT."""
    collector, level = _Collector(), CLIENT.level
    CLIENT.addHandler(collector)
    CLIENT.setLevel(logging.DEBUG)
    try:
        yield collector.sent
    finally:
        CLIENT.removeHandler(collector)
        CLIENT.setLevel(level)
