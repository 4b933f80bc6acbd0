"""How a connection is closed: the gateway's side first, and the rest when the caller has seen it."""

import asyncio
from typing import Any

LINGER_SECONDS = 0.5


class Lingering(asyncio.Transport):
    """A transport that, when it is closed, says so and then takes what still comes, for a moment.

    A socket that is closed at once answers what comes then by a reset, which also takes from the caller an answer that
    it hasn't read yet. RFC 9112, 9.6.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.plain = transport
        self._loop = loop
        self._is_lingering = False

    def close(self) -> None:
        if self.is_closing():
            return
        self._is_lingering = True
        try:
            self.plain.write_eof()
            self.plain.resume_reading()
        except (OSError, NotImplementedError):  # the caller is gone; TLS knows no half of a connection
            self.plain.close()
        else:
            self._loop.call_later(LINGER_SECONDS, self.plain.close)

    def is_closing(self) -> bool:
        return self._is_lingering or self.plain.is_closing()

    def abort(self) -> None:
        self.plain.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_lingering:
            self.plain.write(data)

    def pause_reading(self) -> None:
        self.plain.pause_reading()

    def resume_reading(self) -> None:
        self.plain.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.plain.get_extra_info(name, default)
