"""Subjects from a template and a table's columns: ``cards.{set}.{id}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_kit.errors import UsageError
from platform_kit.jetstream.frames.cells import CellError, cell_as_text, is_missing
from platform_kit.names import token

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_SUBJECT_BYTES = 2000
"""Longer than any sensible subject, and well below the line of 4,096 bytes at which a server hangs up."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_PLAIN = r"^[A-Za-z0-9_-]{1,200}$"


@dataclass(frozen=True)
class Template:
    """A subject with columns' names in braces.

    Parameters
    ----------
    text: As it was given.
    pieces: Literal text at even places, columns' names at odd ones.

    Example
    -------
    >>> Template.parse("cards.{set}.{id}").columns
    ('set', 'id')
    """

    text: str
    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: object) -> Template:
        """Read a template. Errors: ``UsageError`` for what cannot become a subject to publish to."""
        if not isinstance(text, str) or not text:
            raise UsageError(
                f"subject={text!r} is no subject.", hint='Give a text such as "cards.{set}.{id}".'
            )
        pieces = tuple(_FIELD.split(text))
        literal = "".join(pieces[0::2])
        if "{" in literal or "}" in literal:
            raise UsageError(
                f"The braces in {text!r} do not match.",
                hint='Write a column\'s name in braces: "cards.{id}".',
            )
        if "" in pieces[1::2]:
            raise UsageError(f"There is no name in the braces of {text!r}.", hint='Write "cards.{id}".')
        if any(char.isspace() or char in "*>" or not char.isprintable() for char in literal):
            raise UsageError(
                f"{text!r} cannot be published to: it holds a wildcard or a space.",
                hint="Wildcards are for reading; publish to plain subjects.",
            )
        if "" in _FIELD.sub("x", text).split("."):
            raise UsageError(f"{text!r} has an empty part.", hint="Parts are separated by one dot each.")
        return cls(text, pieces)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names, each once."""
        return tuple(dict.fromkeys(self.pieces[1::2]))

    def require(self, columns: Sequence[object]) -> None:
        """Raise ``UsageError`` for a column that is not there, naming those there are."""
        for name in self.columns:
            require_column(name, columns, f"the subject {self.text!r} names")

    def pattern(self, wildcard: str = "*") -> str:
        """The subject with a wildcard for each part that a column decides.

        >>> Template.parse("cards.v-{set}.{id}").pattern()
        'cards.*.*'
        """
        return ".".join(wildcard if "\0" in part else part for part in _FIELD.sub("\0", self.text).split("."))

    def subjects(self, frame: pd.DataFrame) -> tuple[pa.Array, dict[int, str]]:
        """The subject of each row, and the reason for each row that has none (by position).

        Example
        -------
        >>> import pandas as pd
        >>> subjects, failed = Template.parse("cards.{id}").subjects(pd.DataFrame({"id": ["a.b", None]}))
        >>> subjects.to_pylist(), failed
        (['cards.a%2Eb', ''], {1: "column 'id' is empty"})
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.columns:
            return pa.repeat(self.text, len(frame)).cast(pa.string()), {}
        failed: dict[int, str] = {}
        tokens = {name: _tokens(frame[name], name, failed) for name in self.columns}
        parts = [
            tokens[piece] if place % 2 else pa.scalar(piece)
            for place, piece in enumerate(self.pieces)
            if piece or place % 2
        ]
        subjects = pc.binary_join_element_wise(*parts, "")
        for row in pc.indices_nonzero(pc.greater(pc.binary_length(subjects), MAX_SUBJECT_BYTES)).to_pylist():
            failed.setdefault(row, f"the subject has more than {MAX_SUBJECT_BYTES:,} bytes")
        if failed:
            import numpy as np

            good = np.ones(len(frame), bool)
            good[list(failed)] = False
            subjects = pc.if_else(pa.array(good), subjects, "")
        return subjects, failed


def require_column(name: object, columns: Sequence[object], why: str) -> None:
    """Raise ``UsageError`` if a table has no column, or two, of this name."""
    count = sum(1 for column in columns if column == name)
    if count == 1:
        return
    shown = ", ".join(map(str, list(columns)[:30])) + (", …" if len(columns) > 30 else "")
    if count:
        raise UsageError(f"The frame has {count} columns {name!r}, and {why} it.", hint="Rename one of them.")
    raise UsageError(
        f"The frame has no column {name!r}, and {why} it.",
        hint=f"Its columns are {shown}." if shown else "It has no columns.",
    )


def _tokens(column: pd.Series, name: str, failed: dict[int, str]) -> pa.Array:
    """Each cell as a token of a subject; empty ones, which fail, as an empty text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = texts_of(column, name, failed)
    plain = pc.fill_null(pc.match_substring_regex(texts, _PLAIN), False)
    if pc.all(plain).as_py():
        return texts
    encoded: list[str] = []
    known: dict[str, str] = {}
    for row, text in enumerate(texts.to_pylist()):
        if not text:
            failed.setdefault(row, f"column {name!r} is empty")
            encoded.append("")
            continue
        found = known.get(text)
        if found is None:
            found = known[text] = token(text)
        encoded.append(found)
    return pa.array(encoded, pa.string())


def texts_of(column: pd.Series, name: str, failed: dict[int, str]) -> pa.Array:
    """Each cell as text, None where it is missing or cannot be text (which is noted)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = getattr(column.dtype, "kind", "O")
    if kind in "iu":
        return pc.cast(pa.array(column, from_pandas=True), pa.string())
    if kind == "O" or not hasattr(column.dtype, "kind"):
        try:
            array = pa.array(column, from_pandas=True)
        except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
            array = None
        if array is not None and isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if array is not None and (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            return pc.cast(array, pa.string())
    texts: list[str | None] = []
    for row, value in enumerate(column):
        text = None
        if not is_missing(value):
            try:
                text = cell_as_text(value)
                text.encode()
            except CellError as error:
                failed.setdefault(row, f"column {name!r}: {error}")
            except UnicodeEncodeError:
                failed.setdefault(row, f"column {name!r}: the text has half a surrogate pair")
                text = None
        texts.append(text)
    return pa.array(texts, pa.string())
