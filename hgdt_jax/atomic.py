"""Files that are written whole or not at all."""

import json
import os
import pathlib
from typing import Any


def write(path: pathlib.Path, text: str) -> None:
  """In the place of what was there, once all of it is on disk."""
  part = path.with_name(f'.{path.name}.part')
  part.write_text(text, encoding='utf-8')
  os.replace(part, path)


def write_json(path: pathlib.Path, content: Any) -> None:
  """ValueError for a number that JSON has not: infinity or NaN."""
  write(path, json.dumps(content, indent=2, allow_nan=False) + '\n')
