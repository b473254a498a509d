"""The deck: what a file or a DataFrame says about cards, row by row, with what is wrong with each.

A deck judges form only: is there an id, is it the first of its kind, can every cell be shown, is the
picture where the row says. Whether a cost of -5 makes sense is a business rule: the pipeline checks it.
A broken row is rejected and the others go on; only a file that cannot be read at all is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from platform_kit.cards import deck_table
from platform_kit.cards.deck_art import ArtFolder
from platform_kit.cards.deck_files import read_file
from platform_kit.cards.deck_rows import (
    KNOWN,
    REQUIRED,
    CardRow,
    Rejection,
    Value,
    check_rows,
    header_key,
    id_of,
    with_known_names,
)
from platform_kit.cards.deck_table import Record, plain_value, read_frame, read_mappings
from platform_kit.errors import DeckError, UsageError
from platform_kit.reprs import StatusCard, Table, human_count

if TYPE_CHECKING:
    import pandas as pd


_ROWS_SHOWN = 5
_COLUMNS_SHOWN = 9


class Deck:
    """A deck of cards, checked row by row; it never changes, every change makes a new one.

    ``len(deck)`` counts the rows of the file, the rejected ones included; blank rows do not count.

    Parameters
    ----------
    frame: A DataFrame, or a sequence of dicts, one a card. Columns ``id`` and ``name`` are required,
        ``type``, ``cost``, ``rarity``, ``text`` and ``art`` known; all others are kept for templates.
    base_dir: The folder that pictures in the column ``art`` are relative to; by default the current one.

    Raises
    ------
    DeckError: Nothing of it can be read: no rows, no id or name column, a column name twice.

    Example
    -------
    >>> deck = Deck([{"id": "007", "name": "Night Heron", "cost": 3.0}, {"id": "8"}])
    >>> deck.rows[0].fields
    {'id': '007', 'name': 'Night Heron', 'cost': '3'}
    >>> deck.rejected[0].reason
    'name is missing'
    """

    rows: list[CardRow]
    rejected: list[Rejection]
    columns: list[str]
    notes: list[str]
    source: str
    base_dir: Path

    def __init__(
        self, frame: pd.DataFrame | Iterable[Mapping[str, Any]], base_dir: str | Path | None = None
    ) -> None:
        base = Path.cwd() if base_dir is None else Path(base_dir)
        if hasattr(frame, "columns") and hasattr(frame, "iloc"):
            table, source = read_frame(cast("pd.DataFrame", frame)), "DataFrame"
        elif isinstance(frame, (str, bytes, Path, Mapping)) or not isinstance(frame, Iterable):
            given = f"{type(frame).__name__} {str(frame)[:60]!r}"
            raise UsageError(
                f"Deck() takes a DataFrame or a list of dicts, not {given}.",
                hint="Deck.read(path) reads a file.",
            )
        else:
            table, source = read_mappings(frame, "The list"), "list"
            if not table.records:
                raise DeckError("The list has no cards.", hint="Add at least one dict with an id and a name.")
        self._fill(
            with_known_names(table, f"The {source.lower() if source == 'list' else source}"), base, source
        )

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        sheet: str | int = 0,
        encoding: str | None = None,
        delimiter: str | None = None,
    ) -> Deck:
        """Read a deck from a .csv, .tsv, .txt, .xlsx, .json or .jsonl file.

        Encoding and delimiter are detected; what was guessed stands in ``deck.notes``. Pictures in the
        column ``art`` are looked for in the file's own folder and nowhere else.

        Parameters
        ----------
        path: The file.
        sheet: For a workbook: the sheet's name, or its position (the first is 0).
        encoding: For text: its encoding, such as "cp1252", instead of the detected one.
        delimiter: For text: the character between fields, instead of the detected one.

        Raises
        ------
        DeckError: The file cannot be read at all; the message says why and what to do.

        Example
        -------
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("id,name\\n007,Night Heron\\n")
        ...     file.flush()
        ...     Deck.read(file.name).rows[0].fields
        {'id': '007', 'name': 'Night Heron'}
        """
        path = Path(path).expanduser() if "\0" not in str(path) else Path(path)
        table = read_file(path, sheet=sheet, encoding=encoding, delimiter=delimiter)
        return cls._of(with_known_names(table, path.name), path.parent, path.name)

    @classmethod
    def _of(cls, table: deck_table.Table, base_dir: Path, source: str) -> Deck:
        deck = cls.__new__(cls)
        deck._fill(table, base_dir, source)
        return deck

    def _fill(self, table: deck_table.Table, base_dir: Path, source: str) -> None:
        self._table = table
        self.source = source
        self.base_dir = base_dir
        self.columns = list(table.columns)
        self.notes = list(table.notes)
        self.rows, self.rejected = check_rows(table.records, ArtFolder(base_dir))

    def __len__(self) -> int:
        return len(self._table.records)

    @property
    def frame(self) -> pd.DataFrame:
        """The accepted rows as a DataFrame: a column each, the row number as index."""
        return self.head(len(self.rows))

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first ``n`` accepted rows as a DataFrame."""
        import pandas as pd

        chosen = self.rows[: max(0, n)]
        columns = {
            name: pd.Series([card.fields.get(name) for card in chosen], dtype=object) for name in self.columns
        }
        frame = pd.DataFrame(columns, columns=self.columns)
        frame.index = pd.Index([card.row for card in chosen], name="row")
        return frame

    def take(self, n: int) -> Deck:
        """Return a deck of the first ``n`` rows, the rejected ones included."""
        if n < 0:
            raise UsageError(f"take({n}) is less than no card.", hint="Take 0 or more.")
        return self._with(self._table.records[:n])

    def card(self, id: str) -> CardRow:
        """Return the accepted row with this id.

        Raises ``UsageError`` if there is none, with the ids most like it.
        """
        found = next((card for card in self.rows if card.id == id), None)
        if found is None:
            raise self._no_such(id)
        return found

    def with_value(self, id: str, column: str, value: object) -> Deck:
        """Return a new deck in which one cell of one card is changed; None empties the cell.

        Parameters
        ----------
        id: The card's id.
        column: The column, known or new.
        value: What it says from now on.

        Raises
        ------
        UsageError: No accepted card has this id.

        Example
        -------
        >>> deck = Deck([{"id": "1", "name": "Night Heron"}])
        >>> deck.with_value("1", "cost", 2).rows[0].fields["cost"]
        '2'
        """
        card = self.card(id)
        if column not in self.columns:
            # "Name" means the deck's "name"; a word that was never a column makes a new one.
            column = next((name for name in self.columns if header_key(name) == header_key(column)), column)
        records = list(self._table.records)
        at = next(i for i, record in enumerate(records) if record.row == card.row and id_of(record) == id)
        values = dict(records[at].values)
        plain = plain_value(value)
        if plain is None:
            values.pop(column, None)
        else:
            values[column] = plain
        records[at] = replace(records[at], values=values)
        return self._with(records, self.columns if column in self.columns else [*self.columns, column])

    def _with(self, records: list[Record], columns: list[str] | None = None) -> Deck:
        table = deck_table.Table(list(columns or self.columns), records, list(self.notes))
        return Deck._of(table, self.base_dir, self.source)

    def _no_such(self, id: object) -> UsageError:
        rejected = next((item for item in self.rejected if item.id == id), None)
        if rejected is not None:
            return UsageError(
                f"The card {id!r} (row {rejected.row}) was rejected: {rejected.reason}.",
                hint="Correct that row first.",
            )
        near = difflib.get_close_matches(str(id), [card.id for card in self.rows[:5000]], n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "deck.frame lists the ids."
        return UsageError(f"No card of {self.source} has the id {id!r}.", hint=hint)

    def _shown(self) -> tuple[StatusCard, list[Table]]:
        facts: dict[str, object] = {
            "cards": f"{len(self.rows):,} of {human_count(len(self), 'row')}",
            "rejected": len(self.rejected) or None,
            "columns": ", ".join(self.columns),
        }
        facts |= {f"note {number}": note for number, note in enumerate(self.notes, start=1)}
        first = self.rows[:_ROWS_SHOWN]
        names = [name for name in self.columns if any(name in card.fields for card in first)][:_COLUMNS_SHOWN]
        cards = [[card.row, *(_cell(card.fields.get(name)) for name in names)] for card in first]
        tables = [Table(["row", *names], cards, caption=f"the first {len(cards)}")] if cards else []
        if self.rejected:
            wrong = [[item.row, item.id, item.column, item.reason] for item in self.rejected]
            tables.append(
                Table(
                    ["row", "id", "column", "reason"], wrong, caption="rejected", max_rows=10, max_width=110
                )
            )
        state = "some rejected" if self.rejected else "whole"
        return StatusCard(self.source, state, facts, tone="busy" if self.rejected else "good"), tables

    def __repr__(self) -> str:
        card, tables = self._shown()
        return "\n".join(part.text() for part in (card, *tables))

    def _repr_html_(self) -> str:
        card, tables = self._shown()
        return f"<div>{card.html()}{''.join(table.html() for table in tables)}</div>"


def _cell(value: Value | None) -> object:
    return str(value) if isinstance(value, (list, dict)) else value


__all__ = ["KNOWN", "REQUIRED", "CardRow", "Deck", "Rejection", "Value"]
