"""How requests are read off the wire: uvicorn's own way, but of a bounded head, and none is dropped at the end."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.lingering import Lingering

MOST_HEAD_BYTES = 65_536
QUIET_SECONDS = 0.5
TOO_LARGE = "The head of the request is too large."


class InOrder(HttpToolsProtocol):
    """Closes each connection so that whoever sends just then isn't met by a reset."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(Lingering(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():  # what comes later finds nobody; its sender may ask again elsewhere
            super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        if isinstance(self.transport, Lingering):
            self.transport = self.transport.plain
        super().handle_websocket_upgrade()


class BoundedHeads(InOrder):
    """Closes a connection on which a request line and header fields go on beyond any that is served.

    The parser collects them before anybody is asked whose they are, so without an end they would fill the memory.
    """

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(TOO_LARGE)


class GracefulStop(BoundedHeads):
    """Answers, once the server stops, every request of which a byte was read, the last with `Connection: close`.

    Uvicorn's own closes at once what it owes no answer, so also where half a request is there or one is on its way.
    A connection that stays quiet is closed a moment later. RFC 9112, 9.6.
    """

    _is_stopping = False
    _ending: RequestResponseCycle | None = None
    """Whose answer ends the connection."""
    _has_begun = False
    """Whether that answer had begun when it was chosen, so that it can't tell."""

    def shutdown(self) -> None:
        self._is_stopping = True
        self._choose_end()
        if not self._is_owed:
            self.loop.call_later(QUIET_SECONDS, self._close_if_quiet)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_stopping and not self.transport.is_closing():
            self._choose_end()

    @property
    def _is_owed(self) -> bool:
        present: RequestResponseCycle | None = self.cycle  # none before the first request, whatever its type says
        return self._is_in_head or (present is not None and not present.response_complete)

    def _choose_end(self) -> None:
        """The newest request of all that were begun; another was it before that one came."""
        newest = None if self._is_in_head or not self._is_owed else self.cycle
        if self._ending and self._ending is not newest and not self._tells_end(self._ending):
            self._ending.keep_alive = True
            self._ending = None
        if newest and newest.keep_alive:
            self._ending, self._has_begun = newest, newest.response_started
            newest.keep_alive = False

    def _tells_end(self, cycle: RequestResponseCycle) -> bool:
        """Whether its answer has said that nothing more will be answered."""
        return cycle.response_started and not self._has_begun

    def _close_if_quiet(self) -> None:
        if not self._is_owed and not self.transport.is_closing():
            self.transport.close()
