"""Mutations that may be sent again: what a viewer did under an idempotency key is done once in 24 hours."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypedDict

from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from gateway import clock
from gateway.errors import Conflict, Invalid, Refusal
from gateway.names import checked_text
from gateway.permissions import Actor
from gateway.sealing import Sealer
from models import IdempotentAct

REMEMBERED = timedelta(hours=24)
KEY_LENGTH = 255
Act = Callable[[], Awaitable[list[str]]]


class Scope(TypedDict):
    viewer_id: str
    mutation: str
    idempotency_key: str


async def once(
    sealer: Sealer, actor: Actor, mutation: str, idempotency_key: str, input_text: str, act: Act
) -> list[str] | None:
    """Runs the act, which answers with the ids of its objects, unless it was done; then their ids from then.

    None says that the act ran now. A repeat at the same time waits for the first: the claim is a row that is inserted
    in the act's own transaction, and goes where the act is refused. Raises Conflict where the input differs.
    """
    if not checked_text(idempotency_key, "idempotencyKey", KEY_LENGTH):
        raise Invalid(f"An idempotency key has 1 to {KEY_LENGTH} characters.", ["idempotencyKey"])
    scope = Scope(viewer_id=actor.id or "", mutation=mutation, idempotency_key=idempotency_key)
    input_hash = sealer.digest("idempotent input", input_text.encode())
    async with in_transaction():
        await IdempotentAct.filter(**scope, created_at__lt=clock.now() - REMEMBERED).delete()
        done = None if await _claim(scope, input_hash) else await IdempotentAct.get(**scope)
        refusal = None if done else await _do(scope, act)
    if refusal:
        raise refusal
    if done is None:
        return None
    if done.input_hash != input_hash:
        raise Conflict("This idempotency key was used with another input.", ["idempotencyKey"])
    return done.object_ids


async def _do(scope: Scope, act: Act) -> Refusal | None:
    """Why the act was refused, if it was. It took back its changes itself; what it told the audit log besides stays."""
    try:
        await IdempotentAct.filter(**scope).update(object_ids=await act())
    except Refusal as refusal:
        await IdempotentAct.filter(**scope).delete()
        return refusal
    return None


async def _claim(scope: Scope, input_hash: bytes) -> bool:
    """Whether the row is ours; on PostgreSQL this waits for another transaction that is about to have it."""
    try:
        async with in_transaction():
            await IdempotentAct.create(**scope, input_hash=input_hash, object_ids=[], created_at=clock.now())
    except IntegrityError:
        return False
    return True


async def forget() -> None:
    """Drops what need not be remembered any longer."""
    await IdempotentAct.filter(created_at__lt=clock.now() - REMEMBERED).delete()
