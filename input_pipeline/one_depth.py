"""One depth for all clips of 16 bits a sample in a folder: they were made by one camera or program.

By itself a clip of a dark scene would look as bright as any other.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence

from input_pipeline import video_files
from input_pipeline.clip import BadClip, Info
from input_pipeline.discovery import Entry

_DRAWN = 64  # clips by which a folder is judged
_THREADS = 8


def of(known: Sequence[Info | BadClip], folder: Sequence[Entry]) -> list[Info | BadClip]:
  """What is known of clips, those of 16 bits a sample with the bits that the folder uses.

  These are the most that any of `_DRAWN` such clips uses, drawn by their names from `folder`, so
  that they are the same for each split. Clips that use more are bad.
  """
  if not any(map(_is_deep, known)):
    return list(known)
  bits = _of_folder(folder)
  return [_with(info, bits) if _is_deep(info) else info for info in known]


def _is_deep(info):
  return isinstance(info, Info) and info.bits > 0


def _with(info, bits):
  if info.bits > bits:
    return BadClip(f'uses {info.bits} of 16 bits, where clips drawn from the folder use {bits}')
  return dataclasses.replace(info, bits=bits)


def _of_folder(folder):
  name = lambda entry: entry.name.encode('utf-8', 'surrogateescape')
  drawn = sorted(folder, key=lambda entry: hashlib.sha256(name(entry)).digest())
  deep: list[int] = []
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    while drawn and len(deep) < _DRAWN:
      some, drawn = drawn[:_DRAWN], drawn[_DRAWN:]
      deep += filter(None, pool.map(_bits, [entry.path for entry in some]))
  return max(deep[:_DRAWN], default=16)


def _bits(path):
  """That a clip uses; 0 where samples are of 8, or it is bad."""
  if path.suffix.lower() in video_files.VIDEOS:
    return 0
  try:
    file = next(place for place in (path, *path.parents) if place.exists())
    return _bits_at(path, os.stat(file).st_mtime_ns)
  except (OSError, BadClip):
    return 0


@functools.lru_cache(maxsize=1024)  # each split of a folder asks
def _bits_at(path, changed):
  del changed  # a file that was changed is another
  return video_files.probe(path).bits
