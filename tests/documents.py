"""The documents of graphql/operations/, sent as their callers send them.

data = await send(DOCUMENTS["TemplateTiles"], context_of(ada), projectId=project.id)
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import OperationDefinitionNode, parse

from schema.context import Context
from schema.transport.execution import answer, answers
from schema.transport.operation import Operation
from tests.asking import schema

FOLDER = Path(__file__).parent.parent / "graphql" / "operations"


@dataclass(frozen=True)
class Document:
    """One operation of a file, which may hold several."""

    path: str
    name: str
    kind: str
    text: str

    def asked(self, variables: dict[str, Any]) -> Operation:
        return Operation(self.text, variables, self.name, None)


def _documents() -> Iterator[Document]:
    for file in sorted(FOLDER.rglob("*.graphql")):
        text = file.read_text()
        for node in parse(text).definitions:
            assert isinstance(node, OperationDefinitionNode), f"{file} holds a fragment that no other can use"
            assert node.name, f"{file} holds an operation without a name"
            yield Document(file.relative_to(FOLDER).as_posix(), node.name.value, node.operation.value, text)


EVERY_DOCUMENT = list(_documents())
DOCUMENTS = {document.name: document for document in EVERY_DOCUMENT}


async def send(document: Document, context: Context, **variables: Any) -> Any:
    """The data of a query or a mutation that is answered without errors."""
    body: Any = (await answer(schema(), document.asked(variables), context)).body
    assert "errors" not in body, body["errors"]
    return body["data"]


@asynccontextmanager
async def subscribed(document: Document, context: Context, **variables: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """The data of each event of a subscription, which is told without errors."""

    async def told() -> AsyncIterator[Any]:
        async for each in events:
            body: Any = each.body
            assert "errors" not in body, body["errors"]
            yield body["data"]

    async with aclosing(answers(schema(), document.asked(variables), context)) as events:
        yield told()
