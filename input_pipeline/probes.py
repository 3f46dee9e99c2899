"""Looks at many files at once, says how far it is, and keeps what it found for the next run."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import sqlite3
import sys
import time
from collections.abc import Sequence

import av
import numpy as np
from tqdm import tqdm

from input_pipeline import one_depth, video_files
from input_pipeline.clip import BadClip, Info
from input_pipeline.discovery import Entry

_THREADS = 8  # probing waits for the disk
_PATIENCE = 5  # seconds without a word
_WORTH_KEEPING = 1  # seconds that probing took; less is as soon done again
_VERSION = f'1 av {av.__version__} {" ".join(f.name for f in dataclasses.fields(Info))}'
_SETTLED = 2 * 10**9  # nanoseconds after which a file that changes again has another time


def look_at(entries: Sequence[Entry], folder: Sequence[Entry] = ()) -> list[Info | BadClip]:
  """What is known of each, or why it cannot be used; with a bar where it takes seconds.

  `folder` are all clips of the folder that these are a split of, for `one_depth`.

  Files that were looked at in an earlier run, and have the size and time they had, are not opened.
  What that run found is in the user's cache, `$XDG_CACHE_HOME/hgdt_jax/probes.sqlite`.
  """
  keys = [_key(entry.path) for entry in entries]
  with _Kept() as kept:
    known = [kept.get(key) for key in keys]
    began = time.monotonic()
    todo = [k for k, info in enumerate(known) if info is None]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      found = pool.map(_probe, [entries[k].path for k in todo])
      often = 0.1 if sys.stderr.isatty() else _PATIENCE  # a log keeps every line
      options = dict(delay=_PATIENCE, mininterval=often, unit='file', leave=False)
      bar = tqdm(found, 'looking at files', len(todo), **options)
      for k, info in zip(todo, bar):
        known[k] = info
    if time.monotonic() - began > _WORTH_KEEPING:
      kept.put([(keys[k], known[k]) for k in todo if keys[k] and isinstance(known[k], Info)])
  return one_depth.of(known, folder or entries)


def _probe(path):
  try:
    return video_files.probe(path)
  except BadClip as e:
    return type(e)(str(e))  # without what its traceback holds on to


def _key(path):
  """What says that a file is as it was; '' where nothing does."""
  if path.suffix.lower() not in video_files.VIDEOS:
    return ''  # soon looked at
  try:
    about = path.stat()
  except OSError:
    return ''
  if time.time_ns() - about.st_mtime_ns < _SETTLED:
    return ''
  return f'{os.path.abspath(path)}\0{about.st_size}\0{about.st_mtime_ns}'


class _Kept:
  """The table of what earlier runs found. One that cannot be used is an empty one."""

  def __enter__(self):
    self._db = None
    with contextlib.suppress(OSError, sqlite3.Error):
      path = cache_folder() / 'probes.sqlite'
      path.parent.mkdir(parents=True, exist_ok=True)
      self._db = sqlite3.connect(path, timeout=1, isolation_level=None)
      self._db.execute('PRAGMA synchronous=OFF')
      self._db.execute(
        'CREATE TABLE IF NOT EXISTS probes (file BLOB PRIMARY KEY, version TEXT, facts TEXT,'
        ' stamps BLOB)'
      )
    return self

  def __exit__(self, *_):
    if self._db is not None:
      self._db.close()

  def get(self, key: str) -> Info | None:
    if not key or self._db is None:
      return None
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
      row = self._db.execute(
        'SELECT facts, stamps FROM probes WHERE file = ? AND version = ?', (_bytes(key), _VERSION)
      ).fetchone()
      return row and _info(*row)
    return None

  def put(self, found: Sequence[tuple[str, Info]]) -> None:
    if self._db is None:
      return
    with contextlib.suppress(sqlite3.Error, TypeError):  # what JSON has no word for is not kept
      self._db.execute('BEGIN')
      self._db.executemany(
        'INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?)',
        [(_bytes(key), _VERSION, *_row(info)) for key, info in found],
      )
      self._db.execute('COMMIT')


def cache_folder():
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'hgdt_jax'


def _bytes(key):
  return key.encode('utf-8', 'surrogateescape')


def _row(info):
  facts = {f.name: getattr(info, f.name) for f in dataclasses.fields(Info) if f.name != 'stamps'}
  return json.dumps(facts), None if info.stamps is None else info.stamps.tobytes()


def _info(facts, stamps):
  stamps = None if stamps is None else np.frombuffer(stamps, np.int64)
  return Info(**json.loads(facts), stamps=stamps)
