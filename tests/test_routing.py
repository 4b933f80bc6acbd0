"""Which permission a call needs: the table that holds for every project, and rules of a project's own before it."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permissions import EVERYTHING, Permission
from gateway.routing import METHODS, Need, RouteRule, Routes, faults
from gateway.targets import BadTarget, read
from models.fields import fold

VIEW, GRAPH = Permission.PROJECT_VIEW, Permission.GRAPH_VIEW
READ, CREATE = Permission.PACKAGE_VIEW, Permission.PACKAGE_CREATE
PREFIX = "/api/projects/prj_1"

TABLE = [
    ("GET", "/data_layers", Need(VIEW)),
    ("GET", "/data_layers/last", Need(VIEW)),
    ("POST", "/nodes/n-7/packages", Need(CREATE, "n-7")),
    ("POST", "/nodes/n-7/packages/search", Need(READ, "n-7")),
    ("GET", "/nodes/n-7/packages/42/files", Need(READ, "n-7")),
    ("PUT", "/objects/5feceb66", Need(CREATE, on_any_node=True)),
    *[
        (method, path, need)
        for method in ("GET", "HEAD")
        for path, need in (
            ("/nodes/n-7/packages", Need(READ, "n-7")),
            ("/nodes/n-7/packages/42", Need(READ, "n-7")),
            ("/nodes/n-7/packages/42/files/1", Need(READ, "n-7")),
            ("/nodes/n-7", Need(GRAPH, "n-7")),
            ("/nodes/n-7/links", Need(GRAPH, "n-7")),
            ("/objects/5feceb66", Need(READ, on_any_node=True)),
            ("/objects/5feceb66/part/1", Need(READ, on_any_node=True)),
            ("/nodes", Need(VIEW)),
            ("/anything/else", Need(VIEW)),
            ("", Need(VIEW)),
        )
    ],
]
REFUSED = [
    *[(method, "/data_layers") for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "")],
    *[(method, "/nodes/n-7/packages") for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "post")],
    ("POST", "/nodes/n-7/packages/find"),
    ("POST", "/nodes/n-7/packages/search/more"),
    ("POST", "/nodes/packages"),
    ("PUT", "/objects"),
    ("PUT", "/objects/5feceb66/part"),
    ("POST", "/objects/5feceb66"),
    ("DELETE", ""),
]


def segments(path: str) -> tuple[str, ...]:
    return tuple(path[1:].split("/")) if path else ()


def rule(method: str, pattern: str, permission: Permission = Permission.CODE_VIEW) -> RouteRule:
    return RouteRule(method, pattern, permission)


def written(text: str) -> RouteRule:
    method, pattern = text.split()
    return rule(method, pattern)


# The table


@pytest.mark.parametrize(("method", "path", "need"), TABLE)
def test_a_call_needs_what_the_table_says(method: str, path: str, need: Need) -> None:
    assert Routes().need(method, segments(path)) == need


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_a_call_that_is_not_in_the_table_is_refused(method: str, path: str) -> None:
    assert Routes().need(method, segments(path)) is None


@pytest.mark.parametrize("path", ["/packages", "/packages/search"])
def test_a_node_is_whatever_stands_in_its_place(path: str) -> None:
    for node in ("packages", "nodes", "*", "{node}", "ключ", "a b"):
        need = Routes().need("POST", ("nodes", node, *segments(path)))
        assert need
        assert need.node == node


@pytest.mark.parametrize("path", ["/API/projects/prj_1/nodes/n-7/packages", "/api/Projects", "/api/projects"])
def test_what_an_upstream_could_take_for_a_project_s_path_is_refused_whatever_the_rules(path: str) -> None:
    for method in METHODS:
        assert Routes([rule("*", "/**")]).need(method, read(path.encode()).segments) is None


# No spelling of a path falls to a weaker row

LOOKALIKES = {"k": "\u212a", "s": "\u017f", "i": "\u0131", "o": "\uff4f"}
"""Letters that become the plain one in upper case, in lower case, or in a compatible form."""
STRENGTH = [VIEW, GRAPH, READ, CREATE, Permission.CODE_VIEW, Permission.CODE_EDIT]
INSERTED = [";", ";a=b", "\\", "%", "%2f", "%2F", "%5c", "%00", "%2e", "%09", "#x", " "]
BEFORE_A_SLASH = ["/", "/.", "/..", "/x/..", "/%2e%2e", "%2F.."]
APPENDED = [*INSERTED, *BEFORE_A_SLASH, "/x", "?x", "?/../x"]
OWN = [
    rule("*", "/nodes/{node}/packages/secrets/**", Permission.CODE_EDIT),
    rule("GET", "/tasks/**", Permission.CODE_VIEW),
    rule("GET", "/**", Permission.PROJECT_VIEW),
]
OWN_PATHS = [("GET", "/nodes/n-7/packages/secrets"), ("PUT", "/nodes/n-7/packages/secrets/1"), ("GET", "/tasks")]


def escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


@st.composite
def respellings(draw: st.DrawFn, paths: Sequence[tuple[str, str]]) -> tuple[str, str, str]:
    """A method, a path, and a target that spells the path another way, or almost."""
    method, path = draw(st.sampled_from(paths))
    target = PREFIX + path
    changed = draw(st.sets(st.integers(0, len(target) - 1), min_size=1, max_size=4))
    spelt = "".join(draw(spellings(each)) if at in changed else each for at, each in enumerate(target))
    return method, path, spelt + draw(st.sampled_from(["", *APPENDED]))


def spellings(character: str) -> st.SearchStrategy[str]:
    """One character of a path written another way, or with something put before it."""
    escapes = [escaped(character), escaped(character.swapcase()), escaped(LOOKALIKES.get(character, character))]
    inserted = INSERTED if character != "/" else INSERTED + BEFORE_A_SLASH
    return st.sampled_from(
        [
            character.swapcase(),
            *escapes,
            *map(str.lower, escapes),
            *(escape.replace("%", "%25") for escape in escapes),
            *(each + character for each in inserted),
        ]
    )


def check_not_weaker(routes: Routes, method: str, path: str, spelt: str) -> None:
    try:
        target = read(spelt.encode())
    except BadTarget:
        return
    if target.project_id not in {None, "prj_1"}:
        return  # to the gateway it is another project, which the key doesn't open
    got, plain = routes.need(method, target.segments), routes.need(method, segments(path))
    assert got is None or (plain and is_as_strong(got, plain)), spelt


def is_as_strong(got: Need, plain: Need) -> bool:
    if got.permission is not plain.permission:
        return STRENGTH.index(got.permission) > STRENGTH.index(plain.permission)
    return (got.on_any_node, fold(got.node or "")) == (plain.on_any_node, fold(plain.node or ""))


INSIDE = [(method, path) for method, path, _ in TABLE]


@given(respellings(INSIDE))
def test_no_spelling_of_a_path_falls_to_a_weaker_row_of_the_table(spelt: tuple[str, str, str]) -> None:
    check_not_weaker(Routes(), *spelt)


@given(respellings(OWN_PATHS))
def test_no_spelling_of_a_path_falls_to_a_weaker_rule(spelt: tuple[str, str, str]) -> None:
    check_not_weaker(Routes(OWN), *spelt)


@given(st.sampled_from(INSIDE), st.data())
def test_letters_spelt_another_way_read_as_the_plain_path(listed: tuple[str, str], data: st.DataObject) -> None:
    method, path = listed
    spelt = "".join(
        data.draw(st.sampled_from([letter, letter.swapcase(), escaped(letter), escaped(letter.upper())]))
        if letter.isalpha()
        else letter
        for letter in path
    )
    got = Routes().need(method, read(f"{PREFIX}{spelt}".encode()).segments)
    plain = Routes().need(method, segments(path))
    assert got
    assert plain
    assert got._replace(node=fold(got.node or "")) == plain._replace(node=fold(plain.node or ""))


@pytest.mark.parametrize("path", ["/nodes/n-7/packages", "/nodes/n-7/packages/42", "/objects/5feceb66", "/nodes/n-7"])
@pytest.mark.parametrize("letter", LOOKALIKES)
def test_a_letter_that_some_case_or_form_makes_the_plain_one_reads_as_it(path: str, letter: str) -> None:
    spelt = PREFIX + path.replace(letter, escaped(LOOKALIKES[letter]))
    check_not_weaker(Routes(), "GET", path, spelt)


# Rules of a project's own


def test_the_first_rule_that_matches_decides_and_the_table_follows() -> None:
    routes = Routes(
        [
            rule("POST", "/jobs/last", Permission.CODE_VIEW),
            rule("POST", "/jobs/*", Permission.CODE_EDIT),
            rule("GET", "/data_layers", Permission.KEYS_VIEW),
        ]
    )
    assert routes.need("POST", ("jobs", "last")) == Need(Permission.CODE_VIEW)
    assert routes.need("POST", ("jobs", "1")) == Need(Permission.CODE_EDIT)
    assert routes.need("POST", ("jobs",)) is None
    assert routes.need("GET", ("data_layers",)) == Need(Permission.KEYS_VIEW)
    assert routes.need("GET", ("data_layers", "last")) == Need(VIEW)


def test_a_rule_for_get_is_one_for_head_and_not_the_other_way_round() -> None:
    routes = Routes([rule("GET", "/a"), rule("HEAD", "/b")])
    assert routes.need("HEAD", ("a",)) == routes.need("GET", ("a",)) == Need(Permission.CODE_VIEW)
    assert routes.need("HEAD", ("b",)) == Need(Permission.CODE_VIEW)
    assert routes.need("GET", ("b",)) == Need(VIEW)


def test_a_rule_for_every_method_is_one_for_those_that_can_be_named() -> None:
    routes = Routes([rule("*", "/a")])
    assert {method: routes.need(method, ("a",)) for method in METHODS} == dict.fromkeys(
        METHODS, Need(Permission.CODE_VIEW)
    )
    assert routes.need("PROPFIND", ("a",)) is None


@pytest.mark.parametrize("permission", sorted(EVERYTHING))
def test_a_pattern_with_a_node_asks_for_that_node_whatever_the_permission(permission: Permission) -> None:
    need = Routes([rule("POST", "/runs/{node}/start", permission)]).need("POST", ("runs", "n-7", "start"))
    assert need == Need(permission, "n-7")
    assert Routes([rule("POST", "/runs/*", permission)]).need("POST", ("runs", "n-7")) == Need(permission)


def test_a_slash_alone_is_the_project_itself_and_two_stars_are_that_and_all_below() -> None:
    assert Routes([rule("POST", "/")]).need("POST", ()) == Need(Permission.CODE_VIEW)
    assert Routes([rule("POST", "/")]).need("POST", ("a",)) is None
    for path in ((), ("a",), ("a", "b", "c")):
        assert Routes([rule("POST", "/**")]).need("POST", path) == Need(Permission.CODE_VIEW)
    assert Routes([rule("POST", "/a/**")]).need("POST", ("a",)) == Need(Permission.CODE_VIEW)
    assert Routes([rule("POST", "/a/**")]).need("POST", ()) is None


PARTS = st.sampled_from(["a", "B", "c", "*", "{node}"])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    parts = draw(st.lists(PARTS, max_size=3))
    if "{node}" in parts:
        parts = [part if at == parts.index("{node}") else part.replace("{node}", "*") for at, part in enumerate(parts)]
    return "/" + "/".join([*parts, *draw(st.sampled_from([(), ("**",)]))])


RULES = st.builds(RouteRule, st.sampled_from([*METHODS, "*"]), patterns(), st.sampled_from(Permission))
PATHS = [path for length in range(5) for path in product(["A", "b", "c", "z"], repeat=length)]


def matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """As the documentation says it, one segment after the other."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return True
    fits = bool(path) and (pattern[0] in {"*", "{node}"} or pattern[0].lower() == path[0].lower())
    return fits and matches(pattern[1:], path[1:])


def decides(rule: RouteRule, method: str, path: Sequence[str]) -> bool:
    methods = METHODS if rule.method == "*" else {"GET", "HEAD"} if rule.method == "GET" else {rule.method}
    return method in methods and matches(rule.pattern.strip("/").split("/") if rule.pattern != "/" else [], path)


@given(st.lists(RULES, max_size=8), st.sampled_from(METHODS), st.sampled_from(PATHS))
def test_a_call_needs_what_the_first_rule_that_matches_it_says(
    rules: list[RouteRule], method: str, path: tuple[str, ...]
) -> None:
    first = next((rule for rule in rules if decides(rule, method, path)), None)
    got = Routes(rules).need(method, path)
    assert got and got.permission if first else got == Routes().need(method, path)
    assert first is None or got is None or got.permission == first.permission


# Rules that can't decide


@pytest.mark.parametrize(
    ("method", "pattern", "word"),
    [
        ("get", "/a", "method"),
        ("TRACE", "/a", "method"),
        ("CONNECT", "/a", "method"),
        ("", "/a", "method"),
        ("GET", "", "slash"),
        ("GET", "a", "slash"),
        ("GET", "/a/", "empty"),
        ("GET", "//", "empty"),
        ("GET", "/a//b", "empty"),
        ("GET", "/./a", "dots"),
        ("GET", "/a/..", "dots"),
        ("GET", "/**/a", "last"),
        ("GET", "/**/**", "last"),
        ("GET", "/a*", "whole segment"),
        ("GET", "/***", "whole segment"),
        ("GET", "/{id}", "whole segment"),
        ("GET", "/{Node}", "whole segment"),
        ("GET", "/{node}/a/{node}", "one {node}"),
        ("GET", "/a?b", "queries"),
        ("GET", "/a#b", "queries"),
        ("GET", "/a%20b", "escapes"),
        ("GET", "/a;b", "refused"),
        ("GET", "/a\\b", "refused"),
        ("GET", "/a\x00", "refused"),
        ("GET", "/a\n", "refused"),
        ("GET", "/a\x7f", "refused"),
        ("GET", "/a\x85", "refused"),
        ("GET", "/a\ud800", "refused"),
        ("GET", "/" + "a" * 1000, "1000 characters"),
        ("GET", "/a" * 31, "30 segments"),
        ("GET", "/api/projects/prj_1/nodes", "leave that out"),
        ("GET", "/API/Projects", "leave that out"),
    ],
)
def test_a_rule_that_can_match_nothing_is_told(method: str, pattern: str, word: str) -> None:
    [(index, sentence)] = faults([rule("POST", "/fine"), rule(method, pattern)])
    assert index == 1
    assert word in sentence


@pytest.mark.parametrize(
    "pattern", ["/", "/**", "/a b", "/ключ", "/a.b", "/...", "/a" * 30, "/" + "a" * 999, "/api/*/x"]
)
def test_a_pattern_that_can_match_is_no_fault_and_matches(pattern: str) -> None:
    assert faults([rule("POST", pattern)]) == []
    path = [segment.replace("*", "x") for segment in pattern[1:].split("/")] if pattern != "/" else []
    target = PREFIX + "".join("/" + "".join(map(escaped, part)).replace("%2E", ".") for part in path)
    assert Routes([rule("POST", pattern)]).need("POST", read(target.encode()).segments) == Need(Permission.CODE_VIEW)


@pytest.mark.parametrize(
    ("earlier", "later", "is_shadowed"),
    [
        ("GET /a", "GET /a", True),
        ("GET /a", "GET /A", True),
        ("GET /a", "HEAD /a", True),
        ("HEAD /a", "GET /a", False),
        ("GET /a", "POST /a", False),
        ("* /a", "PATCH /a", True),
        ("PATCH /a", "* /a", False),
        ("GET /*", "GET /{node}", True),
        ("GET /{node}", "GET /*", True),
        ("GET /*", "GET /a", True),
        ("GET /a", "GET /*", False),
        ("GET /**", "GET /", True),
        ("GET /**", "GET /a/{node}/**", True),
        ("GET /*/**", "GET /**", False),
        ("GET /*/**", "GET /a", True),
        ("GET /a/**", "GET /a", True),
        ("GET /a/*", "GET /a/**", False),
        ("GET /a/b", "GET /a", False),
        ("GET /a", "GET /a/b", False),
    ],
)
def test_a_rule_that_an_earlier_one_leaves_nothing_is_told(earlier: str, later: str, *, is_shadowed: bool) -> None:
    found = faults([written(earlier), written(later)])
    assert [index for index, _ in found] == ([1] if is_shadowed else [])


def test_a_rule_for_every_method_is_shadowed_by_rules_for_each() -> None:
    each = [rule(method, "/a/*") for method in METHODS if method != "HEAD"]
    assert faults([*each, rule("*", "/a/b")]) == [
        (len(each), "Earlier rules match every call that this one could, so it would never decide.")
    ]
    assert faults([*each[1:], rule("*", "/a/b")]) == []


def test_a_rule_with_a_fault_shadows_none() -> None:
    assert [index for index, _ in faults([rule("get", "/a"), rule("GET", "/a")])] == [0]


@given(RULES, RULES)
def test_of_two_rules_the_later_is_shadowed_exactly_if_it_never_decides(first: RouteRule, second: RouteRule) -> None:
    calls = [(method, path) for method in METHODS for path in PATHS if decides(second, method, path)]
    is_shadowed = all(decides(first, method, path) for method, path in calls)
    assert bool(faults([first, second])) is is_shadowed


@given(st.lists(RULES, max_size=8))
def test_a_rule_that_is_told_to_be_shadowed_decides_nothing(rules: list[RouteRule]) -> None:
    for index, _ in faults(rules):
        for method, path in product(METHODS, PATHS):
            assert not decides(rules[index], method, path) or any(
                decides(earlier, method, path) for earlier in rules[:index]
            )
