"""Documents as clients send them, and random ones, right and wrong, of types whose fields often can't be merged.

text = random_document(Random(1))
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from graphql import GraphQLArgument, build_schema, get_named_type, is_abstract_type, is_leaf_type

RELAY = """
query BoardQuery($project: ID!, $first: Int = 20, $after: String, $isDetailed: Boolean!) {
  project(id: $project) { ...Board_project id }
}
fragment Board_project on Project {
  name
  templates { ...Tile_template @include(if: $isDetailed) id }
  requests(first: $first, after: $after) {
    edges { node { id ...Row_request __typename } cursor }
    pageInfo { endCursor hasNextPage }
  }
}
fragment Tile_template on KeyTemplate { name role { name id } ...Price_template }
fragment Price_template on KeyTemplate { pricePerRequest { amount currency } }
fragment Row_request on KeyRequest { id requestedAt user { ...Person_user id } template { ...Price_template id } }
fragment Person_user on User { name id }
"""
APOLLO = """
fragment PersonFields on User { id name __typename }
query Board($project: ID!, $withoutKeys: Boolean = false) {
  project(id: $project) {
    ...ProjectFields
    templates {
      id
      requests(first: 5) { nodes { id user { ...PersonFields __typename } __typename } __typename }
      issuedKeys @skip(if: $withoutKeys) { nodes { id user { ...PersonFields __typename } __typename } __typename }
      __typename
    }
    __typename
  }
}
fragment ProjectFields on Project { id name templates { id name __typename } __typename }
"""
URQL = """
query ($id: ID!, $whole: Boolean!) {
  node(id: $id) {
    __typename
    id
    ... on Project { name templates { id __typename ... @include(if: $whole) { name description } } }
    ... on KeyTemplate @include(if: $whole) { name project { id name __typename } }
    ... on User { name }
  }
}
"""
MUTATION = """
mutation Out($input: SignOutInput!) { signOut(input: $input) { ...Errors @include(if: true) __typename } }
fragment Errors on SignOutPayload { userErrors { ...Error __typename } }
fragment Error on UserError { code message }
"""
OF_CLIENTS = {"Relay": RELAY, "Apollo": APOLLO, "urql": URQL, "mutation": MUTATION}

UNLIKE = build_schema("""
  interface Named { name(upper: Boolean = false): String twin: Named x: Int }
  type A implements Named { name(upper: Boolean = false): String twin: A x: Int y: String list: [B!] b(n: Int): B }
  type B implements Named { name(upper: Boolean = false, n: Int): String twin: Named x: Int y: Int! list: [B] a: A }
  type C { x: Int y: String b(n: Int!): B }
  union Any = A | B
  union Other = B | C
  type Query { a: A b(n: Int, s: String! = "s"): B c(n: Int!): C any: Any other: Other named: Named again: Query }
  type Mutation { a: A b(n: Int): B }
""")
TYPES: dict[str, Any] = {name: UNLIKE.type_map[name] for name in ("Named", "A", "B", "C", "Any", "Other", "Query")}
FRAGMENTS = ("F", "G", "H")
DEFINED = {
    "n": ("$n: Int", "$n: Int!", "$n: Int = 1", "$n: Int! = 1"),
    "s": ("$s: String!", "$s: String"),
    "on": ("$on: Boolean!", "$on: Boolean = true"),
}
ARGUMENTS = {"upper": ("true", "false", "$on"), "n": ("1", "2", "$n"), "s": ('"s"', "$s")}
DIRECTIVES = ("@include(if: $on)", "@skip(if: $on)", "@skip(if: false)", "@include(if: true) @skip(if: $on)")
WRONG_DIRECTIVES = ("@include", "@skip(if: 1)", "@skip(if: $on) @skip(if: $on)", "@other", "@include(if: true, n: 1)")


def random_document(dice: Random) -> str:
    """Valid as often as not."""
    return _Writer(dice).document()


class _Writer:
    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._conditions = {name: dice.choice(list(TYPES)) for name in FRAGMENTS}
        self._wanted: set[str] = set()

    def document(self) -> str:
        kind = "mutation" if self._once_in(8) else "query"
        texts = [self._selected(UNLIKE.type_map[kind.title()], FRAGMENTS, 3)]
        # Each spreads those after it: when its turn has come, it is known whether it is wanted.
        texts.extend(self._fragment(name) for name in FRAGMENTS if (name in self._wanted) != self._once_in(50))
        used = [name for name in DEFINED if any(f"${name}" in text for text in texts) != self._once_in(50)]
        defined = ", ".join(self._dice.choice(DEFINED[name]) for name in used)
        texts[0] = f"{kind} Random{f'({defined})' if defined else ''} {texts[0]}"
        self._dice.shuffle(texts)
        return "\n".join(texts)

    def _once_in(self, times: int) -> bool:
        return self._dice.randrange(times) == times - 1

    def _fragment(self, name: str) -> str:
        condition = self._conditions[name]
        later = FRAGMENTS if self._once_in(30) else FRAGMENTS[FRAGMENTS.index(name) + 1 :]
        return f"fragment {name} on {condition} {self._selected(TYPES[condition], later, 1)}"

    def _selected(self, parent: Any, fragments: Sequence[str], levels: int) -> str:
        count = self._dice.choice((1, 2, 2, 3))
        return f"{{ {' '.join(self._selection(parent, fragments, levels) for _ in range(count))} }}"

    def _selection(self, parent: Any, fragments: Sequence[str], levels: int) -> str:
        kind = self._dice.randrange(6)
        fitting = [name for name in fragments if self._once_in(60) or _fit(TYPES[self._conditions[name]], parent)]
        if kind == 0 and fitting:
            name = self._dice.choice(fitting)
            self._wanted.add(name)
            return f"...{name} {self._directives()}"
        if kind == 1:
            fit = [each for each in TYPES.values() if self._once_in(60) or _fit(each, parent)]
            condition = self._dice.choice([*fit, parent])
            return f"... on {condition} {self._directives()} {self._selected(condition, fragments, levels - 1)}"
        if kind == 2 and self._once_in(3):
            return f"... {self._directives()} {self._selected(parent, fragments, levels - 1)}"
        return self._field(parent, fragments, levels)

    def _field(self, parent: Any, fragments: Sequence[str], levels: int) -> str:
        fields = getattr(self._dice.choice(list(TYPES.values())) if self._once_in(80) else parent, "fields", {})
        names = [name for name in fields if levels > 0 or is_leaf_type(get_named_type(fields[name].type))]
        if not names or self._once_in(8):
            return "__typename"
        name, field = self._dice.choice([(name, fields[name]) for name in names])
        alias = self._dice.choice(("k: ", "x: ", "y: ")) if self._once_in(20) else ""
        named = get_named_type(field.type)
        below = "" if is_leaf_type(named) or self._once_in(100) else self._selected(named, fragments, levels - 1)
        return f"{alias}{name}{self._arguments(field.args)} {self._directives()} {below}"

    def _arguments(self, arguments: dict[str, GraphQLArgument]) -> str:
        chosen = [name for name, each in arguments.items() if str(each.type).endswith("!") or self._once_in(10)]
        given = [f"{name}: {self._dice.choice(ARGUMENTS[name])}" for name in chosen if not self._once_in(60)]
        return f"({', '.join(given)})" if given else ""

    def _directives(self) -> str:
        if self._once_in(80):
            return self._dice.choice(WRONG_DIRECTIVES)
        return self._dice.choice(DIRECTIVES) if self._once_in(10) else ""


def _fit(condition: Any, parent: Any) -> bool:
    """Whether some objects are of both types."""
    return bool(_possible(condition) & _possible(parent))


def _possible(type_: Any) -> set[str]:
    return {each.name for each in UNLIKE.get_possible_types(type_)} if is_abstract_type(type_) else {type_.name}
