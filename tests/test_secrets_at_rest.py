"""What a secret says, and the token of a key, stand nowhere in the database: not in a row, not in a file."""

from pathlib import Path
from typing import Any

import pytest

from gateway.permissions import Permission
from models import IdempotentAct, TemplateField
from tests.asking import ask
from tests.callers import with_token
from tests.world import _everything, owned_project, person, role, template

CREATE = """mutation ($input: SecretCreateInput!) {
  secretCreate(input: $input) { secret { id } userErrors { message } } }"""
UPDATE = """mutation ($input: SecretUpdateInput!) {
  secretUpdate(input: $input) { secret { id } userErrors { message } } }"""
REVEAL = """mutation ($input: SecretRevealInput!) {
  secretReveal(input: $input) { value userErrors { message } } }"""
IMPORT = """mutation ($input: KeyImportInput!) {
  keyImport(input: $input) { secrets { id } userErrors { message } } }"""


async def kept_in(database_url: str) -> bytes:
    """All rows as text, and the bytes of SQLite's files, its write-ahead log among them."""
    rows: Any = await _everything()
    file = Path(database_url.removeprefix("sqlite://"))
    files = file.parent.glob(f"{file.name}*") if database_url.startswith("sqlite:") else ()
    return repr(rows).encode() + b"".join(each.read_bytes() for each in files)


@pytest.mark.parametrize("repeatable", [{}, {"idempotencyKey": "once"}])
async def test_no_value_of_a_secret_and_no_token_is_kept_as_it_reads(database: str, repeatable: dict[str, str]) -> None:
    ulrich = await person("Ulrich")
    project = await owned_project(ulrich)
    published = await template(project, await role(project, Permission.PROJECT_VIEW))
    await TemplateField.create(template=published, name="plan", value="", position=0)
    key = await with_token(published, ulrich)

    made = await ask(
        ulrich, CREATE, input={"projectId": project.id, "name": "A", "value": "correct horse", **repeatable}
    )
    secret_id = made["secretCreate"]["secret"]["id"]
    await ask(ulrich, UPDATE, input={"secretId": secret_id, "value": "battery staple", **repeatable})
    imported = await ask(ulrich, IMPORT, input={"keyId": key.id, "projectId": project.id, "prefix": "m", **repeatable})
    ids = [secret_id, imported["keyImport"]["secrets"][0]["id"]]
    said = [(await ask(ulrich, REVEAL, input={"secretId": id}))["secretReveal"]["value"] for id in ids]

    kept = await kept_in(database)
    assert said[0] == "battery staple"
    assert secret_id.encode() in kept
    assert await IdempotentAct.all().count() == len(repeatable) * 3
    for text in ("correct horse", "battery staple", *said[1].split(".")):
        assert text.encode() not in kept
        assert text.encode().hex().encode() not in kept
