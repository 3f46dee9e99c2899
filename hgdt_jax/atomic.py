"""Files and folders that are written whole or not at all."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import Any


def write(path: pathlib.Path, text: str) -> None:
  """In the place of what was there, once all of it is on disk."""
  # Of this call alone: two programs may write one file at once.
  part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.part')
  try:
    part.write_text(text, encoding='utf-8')
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def write_json(path: pathlib.Path, content: Any) -> None:
  """ValueError for a number that JSON has not: infinity or NaN."""
  write(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


@contextlib.contextmanager
def replaced(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path`, which takes its place if nothing was raised."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.part')
  _remove(part)
  try:
    yield part
    put(part, path)
  finally:
    _remove(part)


def put(part: pathlib.Path, path: pathlib.Path) -> None:
  """`part` in the place of `path`."""
  old = path.with_name(f'.{path.name}.old')
  _remove(old)
  if path.is_dir():  # a folder cannot be renamed over one that is not empty
    path.rename(old)
  try:
    part.replace(path)
  except OSError:
    if old.exists():
      old.rename(path)
    raise
  _remove(old)


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)
