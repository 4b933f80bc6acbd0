"""Passwords, hashed with Argon2id (RFC 9106) by pwdlib: off the event loop, and only so many at a time."""

import anyio.to_thread
from anyio import CapacityLimiter
from pwdlib import PasswordHash

AT_A_TIME = 2  # a hash takes 64 MiB and a core for some hundred milliseconds


class Passwords:
    def __init__(self) -> None:
        self._hasher = PasswordHash.recommended()
        self._slots = CapacityLimiter(AT_A_TIME)

    async def hash(self, password: str) -> str:
        return await anyio.to_thread.run_sync(self._hasher.hash, password, limiter=self._slots)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one; where there is no account this takes as long, and says no."""
        if password_hash is None:
            await self.hash(password)
            return False
        return await self._matches(password, password_hash)

    async def _matches(self, password: str, password_hash: str) -> bool:
        return await anyio.to_thread.run_sync(self._hasher.verify, password, password_hash, limiter=self._slots)
