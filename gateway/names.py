"""Names that people give to things."""

import unicodedata

from gateway.errors import Invalid
from models.fields import LONGEST_FOLD, NAME_LENGTH, fold

LONGEST_TEXT = 10_000
UNPRINTABLE = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
UNSEEN = frozenset({"Cf", "Zs", "Mn", "Me"})
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # make a text read as another
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters by their category, and yet nothing to see


def checked_name(name: str | None, member: str = "name") -> str:
    """The name, trimmed and in Unicode's composed form (NFC). Raises Invalid unless 1 to 100 printable characters."""
    trimmed = unicodedata.normalize("NFC", name or "").strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH:
        raise Invalid(f"A name has 1 to {NAME_LENGTH} characters.", [member])
    if any(unicodedata.category(character) in UNPRINTABLE or character in BIDI for character in trimmed):
        raise Invalid("A name has no control characters.", [member])
    if all(unicodedata.category(character) in UNSEEN or character in BLANK for character in trimmed):
        raise Invalid("A name has a character that can be seen.", [member])
    return trimmed


def checked_text(text: str | None, member: str, longest: int = LONGEST_TEXT) -> str:
    """A description or note; nothing is an empty one. Raises Invalid for what is too long or can't be stored."""
    if text is not None and len(text) > longest:
        raise Invalid(f"This has at most {longest} characters.", [member])
    if text is not None and ("\x00" in text or any("\ud800" <= character <= "\udfff" for character in text)):
        raise Invalid("This holds a character that can't be kept.", [member])
    return text or ""


def sought(text: str) -> str:
    """A text as it would stand in a folded name; of one that is too long for any, a little more than a name holds.

    SQLite refuses to look for patterns of more than 50,000 bytes.
    """
    return fold(text)[: NAME_LENGTH * LONGEST_FOLD + 1]
