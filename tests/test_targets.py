"""A call's target is read as every server reads it, or not at all."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.targets import BadTarget, Target, can_be_read, read
from tests.nginx import NEEDS_NGINX, nginx_serving

PLAIN = "!\"$&'()*+,-:<=>@[]^_`{|}~"
CLEAN = [
    ("/api/projects/prj_1", Target("prj_1", (), "", None)),
    ("/api/projects/prj_1?", Target("prj_1", (), "", "")),
    ("/api/projects/prj_1?a=b?c", Target("prj_1", (), "", "a=b?c")),
    ("/api/projects/prj_1/a?x=%zz;\\../..//", Target("prj_1", ("a",), "/a", "x=%zz;\\../..//")),
    ("/api/projects/prj_1/a%20b/%D0%BA", Target("prj_1", ("a b", "к"), "/a%20b/%D0%BA", None)),
    ("/api/projects/prj_1/%61%6C%6c", Target("prj_1", ("all",), "/%61%6C%6c", None)),
    ("/api/projects/prj_1/.a/a./...", Target("prj_1", (".a", "a.", "..."), "/.a/a./...", None)),
    ("/api/projects/prj_1/%3F%23%25%25z", Target("prj_1", ("?#%%z",), "/%3F%23%25%25z", None)),
    (f"/api/projects/prj_1/{PLAIN}", Target("prj_1", (PLAIN,), f"/{PLAIN}", None)),
    ("/%61pi/projects/prj%5F1/a", Target("prj_1", ("a",), "/a", None)),
    ("/api/projects", Target(None, ("api", "projects"), "/api/projects", None)),
    ("/API/Projects/x", Target(None, ("API", "Projects", "x"), "/API/Projects/x", None)),
    ("/v1/api/projects/x", Target(None, ("v1", "api", "projects", "x"), "/v1/api/projects/x", None)),
    ("/a%20b?q", Target(None, ("a b",), "/a%20b", "q")),
    ("/", Target(None, (), "/", None)),
    ("/?q", Target(None, (), "/", "q")),
]  # fmt: skip
REFUSED = {
    "begins with a slash": [b"", b"a", b"*", b"http://maps.example/a", b"maps.example:80", b"?q", b" /a"],
    "visible ASCII": [b"/a b", b"/\xd0\xba", b"/a\x00", b"/a\n", b"/a?\x00", b"/a?\xff", b"/a? ", b"/a\t", b"/a\x7f"],
    "fragment": [b"/a#b", b"/a?b#c", b"/#"],
    "backslash": [b"/a\\b", b"/\\a", b"/a%5Cb", b"/a%5cb"],
    "semicolon": [b"/a;b", b"/;", b"/a;b=c/d", b"/a%3Bb", b"/a%3bb"],
    "two hexadecimal digits": [b"/%", b"/%a", b"/%zz", b"/a%2", b"/%u002e", b"/%%41", b"/a%?41"],
    "Slashes and dots": [b"/a%2Fb", b"/a%2fb", b"/%2e", b"/%2E%2E/a", b"/.%2e/a", b"/a%2ejson"],
    "control character": [b"/%00", b"/a%0a", b"/%1F", b"/%7f", b"/%C2%85"],
    "UTF-8": [b"/%ff", b"/%C0%AF", b"/%C0%AE%C0%AE", b"/%ED%A0%80", b"/%D0", b"/%D0/%BA"],
    "another escape": [b"/%252e%252e/a", b"/%2541", b"/a%25%32%66b", b"/%25%36%31"],
    "empty segment": [b"//", b"//a", b"/a//b", b"/a/", b"/a/?q", b"//maps.example/a", b"/api/projects/prj_1/"],
    "dots alone": [b"/.", b"/..", b"/a/.", b"/a/..?q", b"/a/./b", b"/../a", b"/a/../../b"],
}  # fmt: skip


@pytest.mark.parametrize(("target", "read_so"), CLEAN)
def test_a_clean_target_is_read(target: str, read_so: Target) -> None:
    assert read(target.encode()) == read_so


@pytest.mark.parametrize(
    ("word", "target"), [(word, target) for word, targets in REFUSED.items() for target in targets]
)
@pytest.mark.parametrize("prefix", [b"", b"/api/projects/prj_1"])
def test_what_could_be_read_in_two_ways_is_refused_with_the_reason(word: str, target: bytes, prefix: bytes) -> None:
    if prefix and not target.startswith(b"/"):
        return
    with pytest.raises(BadTarget) as refusal:
        read(prefix + target)
    assert word in refusal.value.sentence


def escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def read_or_none(target: bytes) -> Target | None:
    try:
        return read(target)
    except BadTarget:
        return None


PIECES = [
    *["/", "a", "B", ".", "..", "%", "%2", "%2F", "%2e", "%41", "%D0%BA", "%ff", "%00", "%0A", "%25", "%3b", "%5c"],
    *["?", "#", ";", "\\", "\x00", " ", "\x7f", "к", "*", "+", "{", "41", "/api/projects", "/api/projects/", "/x/y"],
]
TARGETS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: ("/" + "".join(parts)).encode()), st.binary()
)
LETTERS = st.one_of(st.sampled_from(f"aZ09.{PLAIN}"), st.characters(codec="utf-8", min_codepoint=32).map(escaped))
SEGMENTS = st.lists(LETTERS, min_size=1, max_size=6).map("".join)
ALMOST_CLEAN = st.builds(
    "{}{}{}".format,
    st.sampled_from(["/", "/api/projects/", "/api/projects/prj_1/", "/%61pi/projects/x/"]),
    st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from(["", "?", "?a=b&c=%2F..;/../", "/", "/x", "#x", "%2"]),
).map(str.encode)


@given(st.one_of(ALMOST_CLEAN, TARGETS))
def test_whatever_comes_is_read_whole_or_refused(target: bytes) -> None:
    found = read_or_none(target)
    if found is None:
        return
    assert all(map(can_be_read, found.segments))
    path, mark, query = target.decode().partition("?")
    assert path.endswith(found.rest)
    assert found.query == (query if mark else None)


@given(st.one_of(ALMOST_CLEAN, TARGETS))
def test_what_is_sent_on_reads_as_what_was_decided_upon(target: bytes) -> None:
    """What follows the project reads alone as it does behind its prefix."""
    found = read_or_none(target)
    if found and not found.rest.startswith("/api/projects/"):
        assert read((found.rest or "/").encode()).segments == found.segments


def test_a_target_of_any_length_is_refused_as_quickly_as_it_is_read() -> None:
    """Were its parts tried in more ways than one, this would not end."""
    for part in (b"/a", b"a", b"%41", b"/.a", b"a%"):
        with pytest.raises(BadTarget):
            read(b"/" + part * 100_000 + b"\\")


# As nginx reads them

ECHO = """server {
  listen LISTEN;
  keepalive_requests 1000000;
  large_client_header_buffers 4 64k;
  location / { return 200 "$request_uri $uri"; }
}"""


class Nginx:
    """What a real nginx, with nothing set that would make it careful, reads from a target."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))

    def reads(self, target: bytes) -> tuple[bytes, bytes] | None:
        """The target as it came, and the path as it was understood; None where it is refused."""
        with socket.create_connection(self._address) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: maps.example\r\nConnection: close\r\n\r\n")
            with connection.makefile("rb") as answer:
                head, _, body = answer.read().partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            return None
        came, _, understood = body.partition(b" ")
        return came, understood


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with nginx_serving(ECHO) as url:
        yield Nginx(url)


def path_of(found: Target) -> bytes:
    prefix = () if found.project_id is None else ("api", "projects", found.project_id)
    return ("/" + "/".join([*prefix, *found.segments])).encode()


def check_as_nginx(nginx: Nginx, target: bytes) -> None:
    if found := read_or_none(target):
        assert nginx.reads(target) == (target, path_of(found))


@NEEDS_NGINX
@settings(max_examples=1000)
@given(target=st.one_of(ALMOST_CLEAN, TARGETS))
def test_what_is_read_nginx_reads_alike(nginx: Nginx, target: bytes) -> None:
    check_as_nginx(nginx, target)


@NEEDS_NGINX
def test_nginx_reads_each_character_as_it_is_read_here(nginx: Nginx) -> None:
    for byte in range(256):
        for part in (bytes([byte]), b"%%%02x" % byte, b"a%%%02Xb" % byte, b"?%c" % byte, b"%%25%02X" % byte):
            check_as_nginx(nginx, b"/api/projects/prj_1/" + part)


@NEEDS_NGINX
def test_nginx_repairs_what_is_refused_here(nginx: Nginx) -> None:
    """Were nginx as careful, these tests would prove nothing."""
    for target in (b"/a/../b", b"/a//b", b"/a/%2e%2e/b", b"/b%2Fc", b"/./b"):
        assert read_or_none(target) is None
        came, understood = nginx.reads(target) or (b"", b"")
        assert came == target
        assert understood != target
