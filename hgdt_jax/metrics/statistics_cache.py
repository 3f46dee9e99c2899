"""What was measured of a set of real clips, kept on disk or in memory.

An entry is found by a hash of everything it depends on, the content of the files among it, and
never updated: it cannot be stale. A damaged entry counts as none.
"""

import collections
import hashlib
import json
import os
import pathlib
import tempfile
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Float

from hgdt_jax.metrics.frechet import Moments

Samples = Moments | Float[np.ndarray, 'n k d']  # or the rows themselves
_FORMAT = 1  # changes with the meaning of an entry


def name_of(key: dict[str, Any]) -> str:
  """Of the entry of `key` (JSON-able: data, measure, its facts)."""
  text = json.dumps(key | {'format': _FORMAT}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:32]


class Memory:
  """The entries that were used last, for as long as the process lives."""

  def __init__(self, most: int):
    self._most, self._entries = most, collections.OrderedDict()

  def load(self, name: str) -> Samples | None:
    if name not in self._entries:
      return None
    self._entries.move_to_end(name)
    return self._entries[name]

  def save(self, name: str, samples: Samples) -> None:
    self._entries[name] = samples
    if len(self._entries) > self._most:
      self._entries.popitem(last=False)


class Folder:
  """A file for each entry."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder

  def load(self, name: str) -> Samples | None:
    """None where there is no whole entry."""
    try:
      with np.load(self._path(name), allow_pickle=False) as entry:
        if 'rows' in entry:
          return entry['rows']
        return Moments(int(entry['count']), entry['mean'], entry['scatter'])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
      return None

  def save(self, name: str, samples: Samples) -> None:
    """Writes the entry whole or not at all."""
    if isinstance(samples, Moments):
      arrays = {'count': samples.count, 'mean': samples.mean, 'scatter': samples.scatter}
    else:
      arrays = {'rows': samples}
    self._folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=self._folder, suffix='.part')
    try:
      with os.fdopen(handle, 'wb') as file:
        np.savez(file, **arrays)
      os.replace(temporary, self._path(name))
    except BaseException:
      os.unlink(temporary)
      raise

  def _path(self, name):
    return self._folder / f'{name}.npz'
