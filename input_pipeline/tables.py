"""JSON and CSV files that may come from anywhere: bounded, and what is wrong is one line."""

import csv
import json
import pathlib
from collections.abc import Iterator
from typing import Any

MAX_JSON = 2**26  # bytes: the names of a million classes
_MAX_LINE = 2**16  # characters of a CSV: a few paths, each of 4096 at most


def read_json(path: pathlib.Path, mend: str) -> Any:
  """What a JSON file holds. Raises ValueError, with `mend` in it, if it is no JSON or too large."""
  size = path.stat().st_size
  if size > MAX_JSON:
    raise ValueError(f'{path}: {size} bytes, more than {MAX_JSON}; {mend}')
  try:
    return json.loads(path.read_bytes())
  except (ValueError, RecursionError) as e:
    raise ValueError(f'{path}: not JSON ({_in_short(e)}); {mend}') from e


def rows(path: pathlib.Path, errors='surrogateescape') -> Iterator[tuple[int, list[str]]]:
  """(line number, cells) of each row of a CSV in UTF-8, the head included.

  `errors` says how bytes that are no UTF-8 are decoded. Raises ValueError if it is no CSV.
  """
  with path.open(encoding='utf-8-sig', errors=errors, newline='') as file:
    reader = csv.reader(_lines(file))
    try:
      for row in reader:
        yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as e:
      raise ValueError(f'{path}, line {reader.line_num + 1}: not a CSV ({_in_short(e)})') from e


def _lines(file):
  while line := file.readline(_MAX_LINE + 1):
    if len(line) > _MAX_LINE:
      raise csv.Error(f'a line of more than {_MAX_LINE} characters')
    yield line


def _in_short(error):
  return ' '.join(str(error).split())[:150] or type(error).__name__
