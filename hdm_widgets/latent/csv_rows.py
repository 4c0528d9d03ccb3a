"""Columns as CSV in which no spreadsheet finds a formula."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CSV_ROWS", "csv_parts", "csv_text"]

# Spreadsheets take a text that begins with one of these for a formula. A text that is escaped already is escaped again,
# so that every escape can be taken back.
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")
_QUOTED = re.compile('[,"\r\n]')
# Rows of a part of a file.
CSV_ROWS = 16_384
# Numbers with so many times fewer different values than rows are written once for each value.
_REPEATED = 4
_LINE_END = "\r\n"


def csv_text(columns: Mapping[str, NDArray[Any]], index: NDArray[np.int64]) -> str:
    """Columns (n,) by name as CSV in which no spreadsheet finds a formula; see `Selection.to_csv`."""
    return "".join(csv_parts(columns, index))


def csv_parts(columns: Mapping[str, NDArray[Any]], index: NDArray[np.int64]) -> Iterator[str]:
    """What `csv_text` gives in parts of whole lines: the names, then 16,384 rows at a time."""
    yield ",".join(["index", *map(_text, columns)]) + _LINE_END
    for start in range(0, len(index), CSV_ROWS):
        rows = slice(start, start + CSV_ROWS)
        written = [_written(np.asarray(values[rows])) for values in (index, *columns.values())]
        yield _LINE_END.join(map(",".join, zip(*written, strict=True))) + _LINE_END


def _written(values: NDArray[Any]) -> list[str]:
    """Every value (n,) as a field."""
    kind = values.dtype.kind
    if kind == "U":
        known = {text: _text(text) for text in set(values.tolist())}
        return [known[text] for text in values.tolist()]
    if values.dtype == np.float64:
        # By their bits: 0 and -0 are written differently.
        bits, positions = np.unique(np.ascontiguousarray(values).view(np.int64), return_inverse=True)
        if len(bits) * _REPEATED > len(values):
            return list(map(_number, values.tolist()))
        table = list(map(_number, bits.view(np.float64).tolist()))
        return [table[position] for position in positions.tolist()]
    if kind == "f":
        return [_number(value) for value in values]
    return list(map(str, values.tolist()))


def _number(value: Any) -> str:
    """The shortest text that is read as the same number; nothing for NaN."""
    return str(value) if value == value else ""


def _text(text: str) -> str:
    escaped = f"'{text}" if _FORMULA.match(text) else text
    return '"' + escaped.replace('"', '""') + '"' if _QUOTED.search(escaped) else escaped
