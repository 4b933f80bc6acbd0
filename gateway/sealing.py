"""What is kept or handed out so that nobody else can read or change it: secrets, signing keys, cursors.

AES-SIV (RFC 5297) under keys that HKDF (RFC 5869) derives from the secret key, one for each purpose. It is
deterministic: what must not show that it equals another is bound to the id of its row.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Unsealable(Exception):
    """Not sealed by us, not for this purpose, not bound to this, or damaged."""


class Sealer:
    """Seals with the present secret key; opens what that or the previous one sealed."""

    def __init__(self, secret_key: bytes, previous: bytes = b"") -> None:
        self._secret_keys = [key for key in (secret_key, previous) if key]
        self._ciphers: dict[str, list[AESSIV]] = {}

    def key_for(self, purpose: str, length: int = 32) -> bytes:
        """A key of `length` bytes that serves this purpose alone."""
        return _derived(self._secret_keys[0], purpose, length)

    def digest(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 under the purpose's key."""
        return hmac.digest(self.key_for(purpose), message, "sha256")

    def seal(self, purpose: str, plain: bytes, *bound_to: str) -> bytes:
        return self._for(purpose)[0].encrypt(plain, _associated(bound_to))

    def open(self, purpose: str, sealed: bytes, *bound_to: str) -> bytes:
        """Raises Unsealable."""
        for cipher in self._for(purpose):
            try:
                return cipher.decrypt(sealed, _associated(bound_to))
            except (InvalidTag, ValueError):
                continue
        raise Unsealable

    def seal_text(self, purpose: str, plain: bytes, *bound_to: str) -> str:
        """As `seal`, in characters that need no escaping in a URL or a header."""
        return urlsafe_b64encode(self.seal(purpose, plain, *bound_to)).rstrip(b"=").decode()

    def open_text(self, purpose: str, sealed: str, *bound_to: str) -> bytes:
        """Raises Unsealable."""
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        except ValueError:
            raise Unsealable from None
        if urlsafe_b64encode(raw).rstrip(b"=").decode() != sealed:
            raise Unsealable  # base64 has several spellings of the same bytes; we take ours alone
        return self.open(purpose, raw, *bound_to)

    def _for(self, purpose: str) -> list[AESSIV]:
        if purpose not in self._ciphers:
            self._ciphers[purpose] = [AESSIV(_derived(key, purpose, 64)) for key in self._secret_keys]
        return self._ciphers[purpose]


def _derived(secret_key: bytes, purpose: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"tessera {purpose}".encode()).derive(secret_key)


def _associated(bound_to: tuple[str, ...]) -> list[bytes]:
    return [part.encode() for part in bound_to]
