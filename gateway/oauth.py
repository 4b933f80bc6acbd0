"""OAuth's two endpoints about tokens: introspection (RFC 7662) and revocation (RFC 7009)."""

from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import introspection
from gateway.attempts import REVOKE_PER_ADDRESS, Attempts
from gateway.auth import Authenticator
from gateway.events import EventLog
from gateway.http import NOT_STORED, json_response

FORM = "application/x-www-form-urlencoded"
LONGEST_FORM_BYTES = 16_384


class Endpoints:
    """`credential_of` reads the token that a call is made with, if any; it raises what the gateway refuses with."""

    def __init__(
        self,
        authenticator: Authenticator,
        attempts: Attempts,
        log: EventLog,
        credential_of: Callable[[Request], str | None],
    ) -> None:
        self._authenticator = authenticator
        self._attempts = attempts
        self._log = log
        self._credential_of = credential_of

    def routes(self) -> list[Route]:
        return [
            Route("/oauth/introspect", self.introspect, methods=["POST"]),
            Route("/oauth/revoke", self.revoke, methods=["POST"]),
        ]

    async def introspect(self, request: Request) -> Response:
        """What a token is, for whoever may know; neither priced nor counted."""
        actor = await self._authenticator.authenticate(self._credential_of(request), _address_of(request))
        actor.require_user()
        token = await _token_in(request)
        return json_response(await introspection.introspect(actor, self._authenticator, token))

    async def revoke(self, request: Request) -> Response:
        """Ends a token by possession. The answer is the same whether there was one to end; so is what it counts for."""
        token, address = await _token_in(request), _address_of(request)
        await self._attempts.spend(REVOKE_PER_ADDRESS, "revoke from", address)
        try:
            await introspection.revoke(self._authenticator, token, address)
        finally:
            self._log.wake()
        return Response(headers=NOT_STORED)


async def _token_in(request: Request) -> str:
    """The form's `token`. Every other parameter is ignored, `token_type_hint` too: a token tells its own kind.

    Raises HTTPException for anything but a form with exactly one.
    """
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != FORM or "content-encoding" in request.headers:
        raise HTTPException(415, f"Send the token as {FORM}.", {"Accept": FORM})
    return _sole_token(await _body(request))


def _sole_token(body: bytes) -> str:
    try:
        parameters = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeError:
        raise HTTPException(400, "The form is not in UTF-8, percent-encoded.") from None
    if any(quantity > 1 for quantity in Counter(name for name, _ in parameters).values()):
        raise HTTPException(400, "Each parameter may be there only once.")
    if not (token := dict(parameters).get("token")):
        raise HTTPException(400, "The parameter `token` is missing.")
    return token


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM_BYTES:
            raise HTTPException(413, f"The form is larger than {LONGEST_FORM_BYTES} bytes.")
    return bytes(body)


def _address_of(request: Request) -> str | None:
    return request.client.host if request.client else None
