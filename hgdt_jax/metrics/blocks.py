"""Matrices of all pairs of samples, a block of rows at a time: 50,000 clips fit in memory."""

from collections.abc import Iterator

_ENTRIES = 2**25  # of a block, 256 MB as float64; an expression holds two or three


def of(rows: int, columns: int) -> Iterator[slice]:
  """Slices of `rows`, such that a block of `columns` columns stays below the bound."""
  size = max(1, _ENTRIES // max(columns, 1))
  return (slice(start, start + size) for start in range(0, rows, size))
