"""What was measured of a set of real clips, kept on disk.

An entry is found by a hash of everything it depends on, the content of the files among it, and
never updated: it cannot be stale. A damaged entry counts as none.
"""

import hashlib
import json
import os
import pathlib
import tempfile
import zipfile
from typing import Any

import numpy as np

from hgdt_jax.metrics.frechet import Moments

_FORMAT = 1  # changes with the meaning of an entry


def path_of(folder: pathlib.Path, key: dict[str, Any]) -> pathlib.Path:
  """Where the entry of `key` (JSON-able: data, measure, its facts) belongs."""
  text = json.dumps(key | {'format': _FORMAT}, sort_keys=True)
  return folder / f'{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz'


def load(path: pathlib.Path) -> Moments | np.ndarray | None:
  """Moments, rows `[N, K, D]`, or None where there is no whole entry."""
  try:
    with np.load(path, allow_pickle=False) as entry:
      if 'rows' in entry:
        return entry['rows']
      return Moments(int(entry['count']), entry['mean'], entry['scatter'])
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def save(path: pathlib.Path, samples: Moments | np.ndarray) -> None:
  """Writes the entry whole or not at all."""
  if isinstance(samples, Moments):
    arrays = {'count': samples.count, 'mean': samples.mean, 'scatter': samples.scatter}
  else:
    arrays = {'rows': samples}
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, suffix='.part')
  try:
    with os.fdopen(handle, 'wb') as file:
      np.savez(file, **arrays)
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise
