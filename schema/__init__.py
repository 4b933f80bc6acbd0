"""How it is asked: types, payloads and resolvers; rules and SQL are elsewhere."""
