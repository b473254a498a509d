"""One rule for names, wherever text from outside becomes a subject token or a file name.

UTF-8, percent-encoded: letters, digits, ``_`` and ``-`` of ASCII stand for themselves, every other byte
is ``%XX``. So no dot, wildcard, space or slash survives. What would be longer than 200 bytes becomes
``~`` and its SHA-256; the original then travels in a header or in the payload.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MAX_TOKEN_BYTES = 200
_DIGEST_TOKEN = re.compile(r"~[0-9a-f]{64}")


def token(text: str) -> str:
    """Return ``text`` as one NATS subject token that is also a safe file name.

    Raises ``ValueError`` for an empty text, which no subject can hold.

    >>> token("Æther/Vial .1")
    '%C3%86ther%2FVial%20%2E1'
    """
    if not text:
        raise ValueError("an empty name cannot become a subject token")
    # quote() leaves "." and "~" alone; the first separates tokens, the second marks a digest.
    encoded = quote(text, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= MAX_TOKEN_BYTES:
        return encoded
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def untoken(encoded: str) -> str | None:
    """Return the text behind a token, or None where only its digest is left.

    >>> untoken("%C3%86ther%2FVial%20%2E1")
    'Æther/Vial .1'
    """
    if _DIGEST_TOKEN.fullmatch(encoded):
        return None
    return unquote(encoded, errors="surrogatepass")


def file_names(ids: Iterable[str], suffix: str = "") -> dict[str, str]:
    """Return a file name for each id, distinct even where the file system ignores case.

    >>> file_names(["Ace", "king"], ".png")
    {'Ace': 'Ace.png', 'king': 'king.png'}
    """
    taken: set[str] = set()
    names: dict[str, str] = {}
    for text in ids:
        if text in names:
            continue
        name = token(text)
        if name.casefold() in taken:
            name = f"{name[:120]}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        taken.add(name.casefold())
        names[text] = name + suffix
    return names
