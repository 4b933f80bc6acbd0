"""A call's target is read as every server reads it, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.targets import BadTarget, Target, can_be_read, read

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


PIECES = [
    *["/", "a", "B", ".", "..", "%", "%2", "%2F", "%2e", "%41", "%D0%BA", "%ff", "%00", "%0A", "%25", "%3b", "%5c"],
    *["?", "#", ";", "\\", "\x00", " ", "\x7f", "к", "*", "+", "{", "41", "/api/projects", "/api/projects/", "/x/y"],
]
TARGETS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: ("/" + "".join(parts)).encode()), st.binary()
)


def read_or_none(target: bytes) -> Target | None:
    try:
        return read(target)
    except BadTarget:
        return None


@given(TARGETS)
def test_whatever_comes_is_read_whole_or_refused(target: bytes) -> None:
    found = read_or_none(target)
    if found is None:
        return
    assert all(map(can_be_read, found.segments))
    path, mark, query = target.decode().partition("?")
    assert path.endswith(found.rest)
    assert found.query == (query if mark else None)


@given(TARGETS)
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
