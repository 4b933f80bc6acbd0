"""Level by level: any query, each field resolved once for all objects of its level.

What it answers is what graphql-core answers; docs/execution.md tells how it works. `Levels` is called as graphql-core's
`execute` is, and can be tried beside it:

    result = await Levels().execute(schema._schema, parse(text), context_value=context, variable_values=variables)
"""

from schema.levels.execution import Levels, Rare

__all__ = ["Levels", "Rare"]
