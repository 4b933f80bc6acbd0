"""Where the gateway listens: a socket for each worker, among which the system spreads connections."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gateway.errors import TesseraError

SPREADS = sys.platform == "linux"
"""Others let several sockets listen at one address as well, but give most connections to one of them."""


class PortTaken(TesseraError):
    code = "PORT_TAKEN"


@contextmanager
def listening(host: str, port: int, workers: int = 1) -> Iterator[Sequence[socket.socket]]:
    """A socket for each worker, all at one address; one for all of them where the system doesn't spread connections.

    They outlive the workers, so that what waits at one for a worker that is gone waits on for the next.
    Raises PortTaken, also for an address that isn't this machine's.
    """
    with ExitStack() as sockets:
        listener = listen(host, port)
        if workers == 1 or not SPREADS:
            yield [sockets.enter_context(listener)] * workers
            return
        with listener:  # alone: who shares an address isn't told that another gateway is there
            host, port = listener.getsockname()[:2]
        yield [sockets.enter_context(listen(host, port, is_shared=True)) for _ in range(workers)]


def listen(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Raises PortTaken, also for an address that isn't this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, reuse_port=is_shared)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "there is no such host"
        raise PortTaken(f"The gateway can't listen on {host} port {port}: {reason}.") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it, whatever the loop
    return listener


def url_of(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
