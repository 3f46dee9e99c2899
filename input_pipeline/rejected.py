"""The list of files that were left out, as a CSV that several processes may add to."""

import csv
import io
import pathlib
import threading

from input_pipeline import tables

COLUMNS = ('split', 'path', 'reason')
_ONE_WRITER = threading.Lock()


def append(path, rows):
  """Adds rows (split, path, reason) of files that have none yet; makes the file if need be.

  The first reason stays: what else is found wrong depends on which clip was drawn.
  """
  path = pathlib.Path(path)
  with _ONE_WRITER:
    known = {row[:2] for row in read(path)}
    fresh = [row for row in dict.fromkeys(map(tuple, rows)) if row[:2] not in known]
    if not fresh:
      return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows(fresh if path.exists() else [COLUMNS, *fresh])
    with path.open('a', encoding='utf-8', errors='surrogateescape', newline='') as file:
      file.write(text.getvalue())  # one write: lines of two processes do not mix


def read(path):
  """Returns the rows (split, path, reason) of such a file, each once; none if it is missing."""
  path = pathlib.Path(path)
  if not path.exists():
    return []
  rows = dict.fromkeys(tuple(row) for _, row in tables.rows(path))
  return [row for row in rows if row != COLUMNS]  # two processes may both have begun it
