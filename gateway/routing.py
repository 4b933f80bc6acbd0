"""Which permission a call needs: by the rules of its project, then by the table that holds for every project."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.permissions import Permission
from gateway.targets import PREFIX, can_be_read
from models.fields import fold
from models.routes import PATTERN_LENGTH

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY_METHOD = "*"
ONE, NODE, BELOW = "*", "{node}", "**"
MOST_SEGMENTS = 30  # bounds the walk of a call
NEVER = 1_000_000


class Need(NamedTuple):
    permission: Permission
    node: str | None = None
    """The id that a node of the project must have in the upstream's paths.

    A permission that nodes have is asked on that node, and held on the project it is held on every node.
    """
    on_any_node: bool = False
    """On the project, or on at least one of its nodes."""


class RouteRule(NamedTuple):
    """Calls with this method whose path, after /api/projects/{id}, is like the pattern need this permission.

    A pattern's segments stand for themselves without regard to case, but `*` for any one, `{node}` for any one, which
    must then be a node's id in the upstream's paths, and a last `**` for any number, none too. GET covers HEAD; `*`
    every method.
    """

    method: str
    pattern: str
    permission: Permission


class Routes:
    """The rules of one project, made ready; the first that matches says what is needed."""

    def __init__(self, rules: Sequence[RouteRule] = ()) -> None:
        own = _Table([_Row(*rule) for rule in rules])
        self._tables = (own, DEFAULT) if rules else (DEFAULT,)

    def need(self, method: str, segments: Sequence[str]) -> Need | None:
        """What a call needs; None: it is refused, whatever is held. Segments are those of `targets.Target`."""
        if _spells_prefix(segments):
            return None
        for table in self._tables:
            if need := table.need(method, segments):
                return need
        return None


def faults(rules: Sequence[RouteRule]) -> list[tuple[int, str]]:
    """Which of the rules could never be the one that decides: its index, and why, in a sentence."""
    found, sound = [], list[RouteRule]()
    for index, rule in enumerate(rules):
        if fault := _fault(rule) or _shadow(rule, sound):
            found.append((index, fault))
        else:
            sound.append(rule)
    return found


def is_method(method: str) -> bool:
    """Whether a rule can be for it."""
    return method == ANY_METHOD or method in METHODS


# What is needed


class _Row(NamedTuple):
    method: str
    pattern: str
    permission: Permission
    on_any_node: bool = False

    def need(self) -> tuple[Need, int | None]:
        """What the row asks for, and which of the segments is a node."""
        segments = _segments(self.pattern)
        return Need(self.permission, None, self.on_any_node), segments.index(NODE) if NODE in segments else None


class _Branch:
    """Where the walk of a path stands after some segments: which rows end here, and what may follow."""

    __slots__ = ("below", "here", "literals", "one")

    def __init__(self) -> None:
        self.literals: dict[str, _Branch] = {}
        self.one: _Branch | None = None
        self.here, self.below = NEVER, NEVER

    def then(self, segment: str) -> "_Branch":
        if segment in {ONE, NODE}:
            self.one = self.one or _Branch()
            return self.one
        return self.literals.setdefault(_folded(segment), _Branch())


class _Table:
    def __init__(self, rows: Sequence[_Row]) -> None:
        self._needs = [row.need() for row in rows]
        self._roots: dict[str, _Branch] = {}
        for number, row in enumerate(rows):
            for method in _methods(row.method):
                self._add(self._roots.setdefault(method, _Branch()), _segments(row.pattern), number)

    def _add(self, branch: _Branch, segments: Sequence[str], number: int) -> None:
        for segment in segments:
            if segment == BELOW:
                branch.below = min(branch.below, number)
                return
            branch = branch.then(segment)
        branch.here = min(branch.here, number)

    def need(self, method: str, segments: Sequence[str]) -> Need | None:
        root = self._roots.get(method)
        number = NEVER if root is None else _first(root, segments)
        if number == NEVER:
            return None
        need, node_at = self._needs[number]
        return need if node_at is None else Need(need.permission, segments[node_at])


def _first(root: _Branch, segments: Sequence[str]) -> int:
    """The number of the first row that the path matches, all ways through the branches walked at once."""
    branches, first = [root], root.below
    for segment in segments:
        literal, following = _folded(segment), []
        for branch in branches:
            if found := branch.literals.get(literal):
                following.append(found)
            if branch.one:
                following.append(branch.one)
        if not following:
            return first
        branches = following
        for branch in branches:
            first = min(first, branch.below)
    return min(first, *(branch.here for branch in branches))


def _spells_prefix(segments: Sequence[str]) -> bool:
    """Whether a path that isn't under /api/projects could be taken for one that is, so that no rule would fit it."""
    return len(segments) > 1 and (_folded(segments[0]), _folded(segments[1])) == PREFIX


def _folded(segment: str) -> str:
    """The segment as any upstream that ignores case could read it: in upper case a dotless i, too, is an I."""
    return segment.lower() if segment.isascii() else fold(segment.upper())


def _segments(pattern: str) -> list[str]:
    return [] if pattern == "/" else pattern[1:].split("/")


def _methods(method: str) -> tuple[str, ...]:
    if method == ANY_METHOD:
        return METHODS
    return ("GET", "HEAD") if method == "GET" else (method,)


# What is wrong with a rule


NOT_PLAIN = (
    ("?#", "A pattern is of the path alone; queries are not looked at."),
    ("*{}", "In a pattern * stands for a whole segment, as ** and {node} do; there are no others of the kind."),
    ("%", "A pattern is written as it reads, without escapes."),
)


def _fault(rule: RouteRule) -> str | None:
    if not is_method(rule.method):
        return f"A method is one of {', '.join(METHODS)}, or * for all of them."
    if not rule.pattern.startswith("/"):
        return "A pattern begins with a slash."
    segments = _segments(rule.pattern)
    if len(rule.pattern) > PATTERN_LENGTH or len(segments) > MOST_SEGMENTS:
        return f"A pattern has at most {PATTERN_LENGTH} characters and {MOST_SEGMENTS} segments."
    return _fault_in_order(segments) or next(filter(None, map(_fault_in, segments)), None)


def _fault_in_order(segments: Sequence[str]) -> str | None:
    if _spells_prefix(segments):
        return "A pattern is of what follows /api/projects/{id}; leave that out."
    if segments.count(NODE) > 1:
        return "A pattern has at most one {node}."
    return "** stands for all that follows, so it comes last." if BELOW in segments[:-1] else None


def _fault_in(segment: str) -> str | None:
    if segment in {ONE, NODE, BELOW}:
        return None
    if segment in {"", ".", ".."}:
        return "A pattern has no empty segment and none of dots alone: calls with such paths are refused."
    for characters, sentence in NOT_PLAIN:
        if not set(characters).isdisjoint(segment):
            return sentence
    return None if can_be_read(segment) else "Calls with such a character in their paths are refused."


def _shadow(rule: RouteRule, earlier: Sequence[RouteRule]) -> str | None:
    left, segments = set(_methods(rule.method)), _segments(rule.pattern)
    for each in earlier:
        if not left.isdisjoint(_methods(each.method)) and _covers(_segments(each.pattern), segments):
            left.difference_update(_methods(each.method))
    return None if left else "Earlier rules match every call that this one could, so it would never decide."


def _covers(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Whether one pattern matches every path that another does."""
    for at, segment in enumerate(wide):
        if segment == BELOW:
            return True
        if at == len(narrow) or narrow[at] == BELOW:
            return False
        if segment not in {ONE, NODE} and (narrow[at] in {ONE, NODE} or _folded(segment) != _folded(narrow[at])):
            return False
    return len(wide) == len(narrow)


VIEW, GRAPH = Permission.PROJECT_VIEW, Permission.GRAPH_VIEW
READ, CREATE = Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE
DEFAULT = _Table(
    [
        _Row("GET", "/data_layers", VIEW),
        _Row("GET", "/data_layers/last", VIEW),
        _Row("POST", "/nodes/{node}/packages", CREATE),
        _Row("POST", "/nodes/{node}/packages/search", READ),
        _Row("GET", "/nodes/{node}/packages/*/files", READ),
        _Row("PUT", "/objects/*", CREATE, on_any_node=True),
        _Row("GET", "/nodes/{node}/packages/**", READ),
        _Row("GET", "/nodes/{node}/**", GRAPH),
        _Row("GET", "/objects/**", READ, on_any_node=True),
        _Row("GET", "/**", VIEW),
    ]
)
