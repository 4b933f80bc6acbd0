"""What a process of the gateway writes to stderr."""

import asyncio
import json
import sys

LINES = """
import logging
import structlog
from gateway import logs
logs.configure()
own = structlog.get_logger("gateway.own")
own.debug("not told")
own.info("told", said="eyJhbGciOiJIUzI1NiJ9.e30.x")
logging.getLogger("gateway.other").warning("told by %s", "another")
try:
    1 / 0
except ZeroDivisionError:
    own.exception("failed")
print("went on")
"""


async def run(redirected: str = "") -> tuple[str, list[dict[str, str]]]:
    command = f'exec "$0" -c "$1" {redirected}'
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, sys.executable, LINES, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, told = await process.communicate()
    return out.decode(), [json.loads(line) for line in told.splitlines()]


async def test_each_line_is_json_of_one_form_whoever_logs_it_and_bears_no_token() -> None:
    out, (told, other, failed) = await run()
    assert out == "went on\n"
    assert (told["event"], told["level"], told["logger"], told["said"]) == ("told", "info", "gateway.own", "[token]")
    assert (other["event"], other["level"], other["logger"]) == ("told by another", "warning", "gateway.other")
    assert (failed["event"], failed["level"]) == ("failed", "error")
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")
    assert told["timestamp"] <= other["timestamp"] <= failed["timestamp"]


async def test_what_can_not_be_written_is_lost_and_nothing_fails_for_it() -> None:
    assert await run("2>/dev/full") == ("went on\n", [])
