"""A stream into one file, Parquet or Arrow, without holding it in memory.

A file has one schema, and a stream's is only known at its end. So batches are written as they come; where a
later one has other columns or types, a second part is begun, and at the end the parts are brought together.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.jobs import Meter
from platform_kit.reprs import Shown, StatusCard, human_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CHUNK_ROWS = 65_536
KINDS = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}


@dataclass(frozen=True, repr=False)
class Export(Shown):
    """A file with a stream's messages.

    Parameters
    ----------
    path: The file.
    rows: Messages in it.
    bad: Of those, how many payloads could not be decoded: the column ``error`` says why, ``payload`` has the
        bytes.
    bytes: Its size.
    """

    path: Path
    rows: int
    bad: int
    bytes: int

    def _card(self) -> StatusCard:
        facts = {"messages": f"{self.rows:,}", "size": human_bytes(self.bytes)}
        if self.bad:
            facts["not decoded"] = f"{self.bad:,}"
        return StatusCard(str(self.path), "finished", facts)

    def text(self) -> str:
        """As lines of text."""
        return self._card().text()

    def html(self) -> str:
        """As a block of HTML."""
        return self._card().html()


def export_path(path: object) -> tuple[Path, str]:
    """The file and its kind, by its name's end. Errors: ``UsageError``."""
    if not isinstance(path, (str, Path)) or not str(path):
        raise UsageError(f"path={path!r} is no file.", hint='Give a path such as "results.parquet".')
    target = Path(path).expanduser()
    kind = KINDS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{target.name!r} has no known ending.", hint=f"One of {', '.join(KINDS)} decides the format."
        )
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", hint="Make it first.")
    return target, kind


async def export(frames: AsyncIterator[pd.DataFrame], path: Path, kind: str, meter: Meter) -> Export:
    """Write all frames into ``path``; it is complete or not there."""
    folder = await asyncio.to_thread(
        lambda: tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
    )
    try:
        parts = _Parts(Path(folder.name), kind)
        try:
            async for frame in frames:
                await asyncio.to_thread(parts.add, frame)
        finally:
            await asyncio.to_thread(parts.close)
            await frames.aclose()  # type: ignore[attr-defined]
        meter.update(text="writing")
        done = await asyncio.to_thread(parts.whole)
        size = done.stat().st_size
        os.replace(done, path)
        return Export(path, parts.rows, parts.bad, size)
    finally:
        await asyncio.to_thread(folder.cleanup)


class _Parts:
    """Files of one schema each."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._files: list[tuple[Path, pa.Schema]] = []
        self._writer: Any = None
        self.rows = self.bad = 0

    def add(self, frame: pd.DataFrame) -> None:
        table = table_of(frame)
        self.rows += len(frame)
        if "error" in frame.columns:
            self.bad += int(frame["error"].notna().sum())
        if self._writer is not None and _fits(table, self._files[-1][1]):
            self._writer.write_table(_brought_to(table, self._files[-1][1]))
            return
        self.close()
        path = self._folder / f"{len(self._files)}"
        self._files.append((path, table.schema))
        self._writer = _open(path, table.schema, self._kind)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def whole(self) -> Path:
        """All parts as one file."""
        import pyarrow as pa

        if len(self._files) == 1:
            return self._files[0][0]
        schema = _together([schema for _, schema in self._files])
        path = self._folder / "whole"
        with _open(path, schema, self._kind) as writer:
            for part, _ in self._files:
                for batch in _batches(part, self._kind):
                    writer.write_table(_brought_to(pa.Table.from_batches([batch]), schema))
                part.unlink()
        return path


def table_of(frame: pd.DataFrame) -> pa.Table:
    """A frame as an Arrow table; objects without one type become text, as JSON where they are none."""
    import pyarrow as pa

    arrays = []
    for name in frame.columns:
        column = frame[name]
        try:
            array = pa.array(column, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            array = pa.array([_as_json(value) for value in column], pa.string())
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if pa.types.is_large_string(array.type):
            array = array.cast(pa.string())
        if name == "payload" and pa.types.is_null(array.type):
            array = pa.nulls(len(frame), pa.binary())
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=[str(name) for name in frame.columns])


def _as_json(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _fits(table: pa.Table, schema: pa.Schema) -> bool:
    """Whether each column has its place, with its type or with nothing in it."""
    import pyarrow as pa

    for field in table.schema:
        place = schema.get_field_index(field.name)
        if place < 0 or not (field.type == schema.field(place).type or pa.types.is_null(field.type)):
            return False
    return True


def _together(schemas: list[pa.Schema]) -> pa.Schema:
    """One schema all tables can be brought to: wider numbers, and text for what has no common type."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = types.get(field.name, pa.null())
            types[field.name] = _common(known, field.type)
    return pa.schema(types)


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    # A float cannot hold every whole number, so the two only meet as text.
    try:
        merged = pa.unify_schemas([pa.schema({"x": one}), pa.schema({"x": other})], promote_options="default")
        return merged.field("x").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        pass
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string()


def _brought_to(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in schema:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(place)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                column = pa.array([_as_json(value) for value in column.to_pylist()], pa.string())
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _open(path: Path, schema: pa.Schema, kind: str) -> Any:
    import pyarrow as pa

    if kind == "arrow":
        return pa.ipc.new_file(str(path), schema)
    import pyarrow.parquet

    return pyarrow.parquet.ParquetWriter(str(path), schema, compression="zstd")


def _batches(path: Path, kind: str) -> Any:
    import pyarrow as pa

    if kind == "arrow":
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
        return
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(str(path)) as file:
        yield from file.iter_batches(CHUNK_ROWS)
