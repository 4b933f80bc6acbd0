"""How a mutation is carried out: once, whole, and with every refusal told as a userError."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import orjson
import strawberry
from strawberry.types.field import StrawberryField

from gateway import contention, idempotency
from gateway.errors import NotFound, Refusal
from gateway.pricing import plain
from schema.context import Info
from schema.declare import described, enum, object_type
from schema.nodes import find

PayloadT = TypeVar("PayloadT")
Act = Callable[[], Awaitable[Any]]
Again = Callable[[Info, list[str]], Awaitable[Any]]


class UserErrorCode(Enum):
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    INVALID = "INVALID"
    CONFLICT = "CONFLICT"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


enum(
    UserErrorCode,
    "Why a mutation was refused.",
    NOT_FOUND="There is no such object, or none that the viewer may see.",
    FORBIDDEN="The viewer sees the object but may not do this.",
    INVALID="The input can't be.",
    CONFLICT="The input could be, were the present state another.",
    LIMIT_EXCEEDED="Too much, or too often.",
)


@object_type(
    "A refusal that the user can act upon. Top-level errors are kept for missing authentication, limits and faults."
)
class UserError:
    code: UserErrorCode = described("Why.")
    message: str = described("A sentence for a person.")
    path: list[str] | None = described(
        'Path of the input member at fault, list indices as digits, e.g. ["input", "fields", "0", "name"].'
    )


USER_ERRORS = "Why nothing was done; empty where it was."
REPEATABLE = "Makes a repeat of this mutation harmless for 24 hours."


@object_type("What was deleted, or why it was not.")
class DeletePayload:
    deleted_id: strawberry.ID | None = described("The id of what is gone; null exactly when there are userErrors.")
    user_errors: list[UserError] = described(USER_ERRORS)


def mutation(resolver: Callable[..., Any], description: str) -> Any:
    field: StrawberryField = strawberry.mutation(resolver=resolver, description=description)
    return field


async def found_again(info: Info, ids: list[str]) -> Any:
    """The object that a mutation made or changed, as it now stands. Raises NotFound where it may not be seen now."""
    return (await all_found_again(info, ids))[0]


async def all_found_again(info: Info, ids: list[str]) -> list[Any]:
    """As `found_again`, of a mutation that made several."""
    found = await asyncio.gather(*(find(info, id) for id in ids))
    if None in found:
        raise NotFound("What this idempotency key did is gone since, or may no longer be seen.")
    return found


async def still_gone(_: Info, ids: list[str]) -> str:
    """The id of what a mutation deleted."""
    return ids[0]


async def settle(
    info: Info, input: Any, payload: type[PayloadT], member: str, act: Act, again: Again = found_again
) -> PayloadT:
    """Does the act, whose result becomes that member of the payload; a refusal becomes the payload's userErrors.

    With an idempotency key it is done once, and a repeat answers with what `again` finds for the ids from then. A
    caller who goes away meanwhile doesn't cut it in half.
    """
    try:
        result = await asyncio.shield(contention.begun_anew(partial(_once, info, input, act, again)))
    except Refusal as refusal:
        return payload(**{member: None, "user_errors": [_user_error(refusal)]})
    finally:
        info.context.services.log.wake()
    info.context.renew()  # what was loaded before the act need not be true after it
    return payload(**{member: result, "user_errors": []})


async def _once(info: Info, input: Any, act: Act, again: Again) -> Any:
    key = getattr(input, "idempotency_key", None)
    if not isinstance(key, str):
        return await act()
    actor = info.context.actor
    actor.require_user()
    results: list[Any] = []

    async def act_and_name() -> list[str]:
        results.append(await act())
        return _ids(results[0])

    ids = await idempotency.once(info.context.services.sealer, actor, info.field_name, key, _text(input), act_and_name)
    if ids is None:
        return results[0]
    info.context.renew()
    return await again(info, ids)


def _ids(result: Any) -> list[str]:
    if isinstance(result, list):
        return [row.id for row in result]
    return [result if isinstance(result, str) else result.id]


def _user_error(refusal: Refusal) -> UserError:
    path = ["input", *refusal.path] if refusal.path else None
    return UserError(code=UserErrorCode(refusal.code), message=refusal.message, path=path)


def _text(input: Any) -> str:
    """The input without its idempotency key, the same text for the same input."""
    members = {name: value for name, value in _plain(input).items() if name != "idempotency_key"}
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS).decode()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        members = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _plain(member) for name, member in members.items() if member is not strawberry.UNSET}
    if isinstance(value, strawberry.Some):  # the member of a oneOf input that is present
        return _plain(value.value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime | str | int | bool | None):
        return value
    return plain(value)
