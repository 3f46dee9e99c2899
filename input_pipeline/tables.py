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
  """(line number, cells) of each row of a CSV in UTF-8, or UTF-16 with its mark; the head included.

  `errors` says how bytes that are no UTF-8 are decoded. Raises ValueError if it is no CSV.
  """
  with path.open(encoding=_encoding(path), errors=errors, newline='') as file:
    reader = csv.reader(_bounded(file))
    try:
      for row in reader:
        yield reader.line_num, row
    except (csv.Error, UnicodeError) as e:
      raise ValueError(f'{path}, line {reader.line_num + 1}: not a CSV ({_in_short(e)})') from e


def lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """(line number, text) of each line of a text, encoded as those of `rows`. Raises as that."""
  with path.open(encoding=_encoding(path)) as file:
    number = 0
    try:
      for number, line in enumerate(_bounded(file), 1):
        yield number, line.strip()
    except (csv.Error, UnicodeError) as e:
      raise ValueError(f'{path}, line {number + 1}: not a text ({_in_short(e)})') from e


def _encoding(path):
  with path.open('rb') as file:
    start = file.read(1000)
  if start.startswith((b'\xff\xfe', b'\xfe\xff')):
    return 'utf-16'
  if 3 * start.count(0) > len(start):
    raise ValueError(f'{path}: zeros in it, as in UTF-16 without a mark; save it as UTF-8')
  return 'utf-8-sig'


def _bounded(file):
  while line := file.readline(_MAX_LINE + 1):
    if len(line) > _MAX_LINE:
      raise csv.Error(f'a line of more than {_MAX_LINE} characters')
    yield line


def _in_short(error):
  return ' '.join(str(error).split())[:150] or type(error).__name__
