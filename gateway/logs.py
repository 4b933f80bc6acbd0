"""What the gateway writes to its log: JSON lines, or coloured ones where a person looks on; never a token."""

import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict, Processor

from gateway import clock
from gateway.plane.passing import BrokenOff

TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]*\.?[\w-]*")
REQUEST_ID = "X-Request-Id"

log = structlog.get_logger("tessera.http")


def configure(level: int = logging.INFO) -> None:
    """Has all that this process logs written to stderr in one form; of most libraries, warnings alone."""
    _record_no_more_than_is_written()
    is_seen = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # plain text: a richer form would show the values of variables
        without_tokens,
    ]
    renderer = _renderer(is_seen)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    for talker in ("gateway", "schema", "tessera", "uvicorn"):
        logging.getLogger(talker).setLevel(level)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Written,
    )


class _Written:
    """Writes our own lines straight to stderr: through the standard library's logging each takes twice as long."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def write(self, line: str) -> None:
        """What can't be written is lost, as with the standard library: no call fails for it."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = write


def _record_no_more_than_is_written() -> None:
    """Where in the code, in which thread and process a line was logged costs as much as the line itself."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  # as the documentation of logging has it


def without_tokens(_: Any, __: str, event: EventDict) -> EventDict:
    """Strikes out whatever looks like a JWT; the last resort, since none should come here."""
    return {key: TOKEN.sub("[token]", value) if isinstance(value, str) else value for key, value in event.items()}


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that breaks off is told in a line by the data plane, and breaks the server's connection on purpose."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOff))


def _renderer(is_seen: bool) -> Processor:
    if is_seen:
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: EventDict, default: Callable[[Any], Any], **_: Any) -> str:
    return orjson.dumps(event, default=default).decode()


class AccessLog:
    """Logs each request: id (made where there is none), method, path without the query, status, duration."""

    def __init__(self, app: ASGIApp, request_id_of: Callable[[Headers], str]) -> None:
        self._app = app
        self._request_id_of = request_id_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        entry = Entry(scope, send, self._request_id_of(Headers(scope=scope)))
        with structlog.contextvars.bound_contextvars(request_id=entry.request_id):
            try:
                await self._app(scope, receive, entry.send)
            except Exception:
                entry.status = 500
                raise
            finally:
                entry.write()


class Entry:
    """One line of the access log, filled in as the answer goes by."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        MutableHeaders(scope=scope)[REQUEST_ID] = request_id  # who answers takes this one for the caller's own

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            headers["Date"] = clock.http_date().decode()
        elif message["type"] == "websocket.accept":
            self.status = 101
        elif message["type"] == "websocket.close" and self.status is None:
            self.status = 403
        await self._send(message)

    def write(self) -> None:
        log.info(
            "request",
            method=self._scope.get("method", "WEBSOCKET"),
            path=(self._scope.get("raw_path") or self._scope["path"].encode()).decode("ascii", "backslashreplace"),
            status=self.status,
            milliseconds=round((time.perf_counter() - self._began) * 1000, 1),
        )
