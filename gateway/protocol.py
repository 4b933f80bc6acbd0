"""How requests are read off the wire: uvicorn's own way, but of a bounded head."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
TOO_LARGE = "The head of the request is too large."


class BoundedHeads(HttpToolsProtocol):
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
