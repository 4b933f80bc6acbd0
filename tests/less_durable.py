"""The command `tessera`, with SQLite less durable than it should be: `python tests/less_durable.py OFF serve ...`."""

import sys
from typing import Any

from gateway import cli, database

SYNCHRONOUS = sys.argv.pop(1)
as_it_should_be = database._sqlite


def less_durable(url: str) -> tuple[str, dict[str, Any]]:
    name, connection = as_it_should_be(url)
    return name, {**connection, "credentials": {**connection["credentials"], "synchronous": SYNCHRONOUS}}


database._sqlite = less_durable
cli.main()
