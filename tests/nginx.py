"""A real nginx on 127.0.0.1, for tests of what stands in front of the gateway.

with nginx_serving("server { listen LISTEN; location / { return 204; } }") as url:
    ...
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.programs import needs, place_of

NGINX = place_of("nginx")
NEEDS_NGINX = needs("nginx")
MAIN = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  HTTP
}
"""


@contextmanager
def nginx_serving(http_block: str) -> Iterator[str]:
    """Runs an nginx with this inside its `http`; yields its URL, without a slash at the end.

    LISTEN in the block stands for the address to listen on. All that nginx writes is in a folder that is gone after.
    """
    with TemporaryDirectory() as folder, _reserved_port() as port:
        address = f"127.0.0.1:{port}"
        block = http_block.replace("LISTEN", address)
        (Path(folder) / "nginx.conf").write_text(MAIN.replace("HTTP", block))
        with _running(Path(folder), port):
            yield f"http://{address}"


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that is given to nobody else meanwhile: bound, so that it isn't free, and open to who asks for it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def _running(folder: Path, port: int) -> Iterator[None]:
    assert NGINX, "nginx is not here"
    log = folder / "error.log"
    command: list[str | Path] = [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", log]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as nginx:
        try:
            if not _answers(nginx, port):
                raise RuntimeError(f"nginx did not start: {nginx.communicate()[1]}{log.read_text()}")
            yield
        finally:
            nginx.terminate()


def _answers(nginx: subprocess.Popen[str], port: int) -> bool:
    """Waits until it takes connections; False if it ended instead."""
    while nginx.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.005)
        else:
            return True
    return False
