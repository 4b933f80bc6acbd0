"""What a call's target says: read once, and refused where two readers could take it for two paths.

What is decided upon and what is sent on are the same bytes, so a target is never repaired: no dots are resolved, no
slashes merged, no escape decoded that another server would take for a separator.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

PREFIX = ("api", "projects")
PLAIN = rb'[!"$&-.0-:<->@-\[\]-~]'  # visible ASCII less # % / ; ? and the backslash
ESCAPE = rb"%(?![01]|2[EeFf]|3[Bb]|5[Cc]|7[Ff])[0-9A-Fa-f]{2}"
SEGMENT = rb"/(?!\.{1,2}(?:[/?]|\Z))(?:" + PLAIN + rb"++|" + ESCAPE + rb")++"
CLEAN = re.compile(rb"((?:" + SEGMENT + rb')++|/)(?:\?([!"$-~]*+))?')
NEVER_READ = re.compile(r"[/\\;\x00-\x1f\x7f-\x9f\ud800-\udfff]|%[0-9A-Fa-f]{2}")

FAULTS = (
    (rb"\A(?!/)", "A target begins with a slash."),
    (rb"[^!-~]", "A target holds visible ASCII characters alone; any other is written as an escape."),
    (rb"#", "A target has no fragment."),
    (rb"\A[^?]*(?:\\|%5[Cc])", "A path holds no backslash, written plainly or as an escape."),
    (rb"\A[^?]*(?:;|%3[Bb])", "A path holds no semicolon, written plainly or as an escape."),
    (rb"\A[^?]*%(?![0-9A-Fa-f]{2})", "An escape is a percent sign and two hexadecimal digits."),
    (rb"\A[^?]*%2[EeFf]", "Slashes and dots are not written as escapes."),
    (rb"\A[^?]*%(?:[01]|7[Ff])", "A path holds no control character."),
    (rb"", "A path has no empty segment and none of dots alone; a slash at its end makes an empty one."),
)
FAULTS_IN_ORDER = tuple((re.compile(pattern), sentence) for pattern, sentence in FAULTS)


class BadTarget(Exception):
    """A target that is not read. `sentence` tells a person why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Target(NamedTuple):
    project_id: str | None
    """Of a target under /api/projects/{id}; None of any other."""
    segments: tuple[str, ...]
    """What follows /api/projects/{id}, decoded; of any other target the whole path."""
    rest: str
    """What `segments` was read from, exactly as it came: empty, or a path that begins with a slash."""
    query: str | None
    """What follows the first question mark, exactly as it came; None without one."""


def read(target: bytes) -> Target:
    """A target in origin form (RFC 9112, section 3.2.1) as it stands on the request line. Raises BadTarget."""
    clean = CLEAN.fullmatch(target)
    if clean is None:
        raise BadTarget(_fault(target))
    path = str(clean[1], "ascii")
    query = None if clean[2] is None else str(clean[2], "ascii")
    written = path[1:].split("/") if len(path) > 1 else []
    segments = tuple(map(_decoded, written)) if "%" in path else tuple(written)
    if len(segments) > 2 and segments[:2] == PREFIX:
        rest = path[len(written[0]) + len(written[1]) + len(written[2]) + 3 :]
        return Target(segments[2], segments[3:], rest, query)
    return Target(None, segments, path, query)


def can_be_read(segment: str) -> bool:
    """Whether a segment of some target reads so once it is decoded."""
    return segment not in {"", ".", ".."} and not NEVER_READ.search(segment)


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadTarget("Escapes stand for characters in UTF-8.") from None
    if not can_be_read(text):
        raise BadTarget("An escape stands for no control character, and not for a part of another escape.")
    return text


def _fault(target: bytes) -> str:
    return next(sentence for pattern, sentence in FAULTS_IN_ORDER if pattern.search(target))
