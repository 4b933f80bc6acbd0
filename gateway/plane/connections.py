"""Connections to upstreams: only to addresses that are allowed, kept for the calls that come next."""

import asyncio
import errno
import select
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType, Connection
from yarl import URL

from gateway.upstreams import UpstreamAllow

CONNECTIONS_PER_UPSTREAM = 1000
KEPT_SECONDS = 4  # common servers close what was idle for 5
REMEMBERED_UPSTREAMS = 1000


class NeverReached(Exception):
    """No byte of the request reached the upstream."""

    def __init__(self, reason: str, *, is_slow: bool = False) -> None:
        super().__init__(reason)
        self.is_slow = is_slow


class Denied(OSError):
    """No upstream may be at this address."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a base URL says."""

    where: aiohttp.ClientRequest
    """For the connector alone: it is never sent."""
    authority: bytes
    path: bytes


class Connections:
    def __init__(
        self,
        allow: UpstreamAllow,
        connect_seconds: float,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._allow = allow
        self._resolver = resolver
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._upstreams: dict[str, Upstream] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def open(self) -> None:
        self._connector = aiohttp.TCPConnector(
            limit=0,  # one upstream that hangs takes no connection from another
            limit_per_host=CONNECTIONS_PER_UPSTREAM,
            keepalive_timeout=KEPT_SECONDS,
            resolver=self._resolver,
            socket_factory=self._socket,
        )

    async def close(self) -> None:
        await self._connector.close()

    def upstream(self, base_url: str) -> Upstream:
        """Raises NeverReached for a URL that leads nowhere."""
        if (known := self._upstreams.get(base_url)) is not None:
            return known
        if len(self._upstreams) >= REMEMBERED_UPSTREAMS:
            self._upstreams.clear()
        try:
            parts = urlsplit(base_url)
            where = aiohttp.ClientRequest("GET", URL(base_url), ssl=self._tls, loop=asyncio.get_running_loop())
        except (aiohttp.ClientError, ValueError) as error:
            raise NeverReached("The upstream's URL leads nowhere.") from error
        is_usual = parts.port in {None, {"http": 80, "https": 443}[parts.scheme]}
        authority = parts.netloc.rpartition(":")[0] if is_usual and parts.port else parts.netloc.rstrip(":")
        self._upstreams[base_url] = upstream = Upstream(where, authority.encode(), parts.path.encode())
        return upstream

    async def connect(self, upstream: Upstream, *, is_kept_good: bool = True) -> tuple[Connection, bool]:
        """A connection, and whether it served a call before. Raises NeverReached."""
        while True:
            try:
                connection = await self._connector.connect(upstream.where, [], self._timeout)
            except TimeoutError as error:
                raise NeverReached("The upstream took no connection in time.", is_slow=True) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a name that IDNA can't spell
                raise NeverReached("The upstream can't be reached.") from error
            protocol = protocol_of(connection)
            if protocol not in self._used:
                self._used.add(protocol)
                return connection, False
            if is_kept_good and _is_quiet(protocol):
                return connection, True
            connection.close()

    def _socket(self, place: AddrInfoType) -> socket.socket:
        """For the very address that is connected to next, so that no later answer of DNS counts."""
        family, kind, protocol, _, (host, port, *_) = place
        if not self._allow.permits(ip_address(host), int(port)):
            raise Denied(errno.EACCES, "no upstream may be at this address")
        return socket.socket(family, kind, protocol)


def _is_quiet(protocol: ResponseHandler) -> bool:
    """Whether a kept connection can take a request: the upstream has neither closed it nor said what nobody asked."""
    transport = protocol.transport
    if transport is None or protocol.should_close:
        return False
    waiting = select.poll()
    waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not waiting.poll(0)


def protocol_of(connection: Connection) -> ResponseHandler:
    protocol = connection.protocol
    assert protocol is not None  # noqa: S101  # until it is released or closed
    return protocol
