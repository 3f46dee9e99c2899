"""How many samples the tables of an MP4 promise, counted before FFmpeg makes room for them.

FFmpeg lists every sample when it opens a file (24 bytes each, and slowly), and two kinds of table
promise any number of them in a few bytes: a kilobyte can ask for gigabytes. The rest of a file
promises no more than its size allows.
"""

import collections
import mmap
import re
import struct

from input_pipeline import clip
from input_pipeline.clip import BadClip

_MAX_SAMPLES = 2 * clip.MAX_FRAMES  # pictures and sound
_TABLES = re.compile(rb'stsz|stz2|trun|elst|cmov')
_FRAGMENT = (b'moof', b'sidx', b'styp', b'emsg', b'prft', b'mfra')  # and mdat
_FIRST = (b'ftyp', b'mdat', b'wide', b'free', b'skip')  # how an MP4 or MOV begins


def check(path) -> None:
  """Raises BadClip for an MP4 of too many samples or without an index; other files pass."""
  with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
    parts = list(_without_data(content))
    if content[4:8] in _FIRST and all(content.find(b'moov', *part) < 0 for part in parts):
      raise BadClip('no index (moov) in it: the recording or download was not finished')
    samples, edits = 0, 1
    for start, stop in parts:
      for kind, count in _counts(content, start, stop):
        if kind == b'elst':
          edits = max(edits, count)  # each may show every sample once more
        else:
          samples += count
  if samples * edits > _MAX_SAMPLES:
    raise BadClip(
      f'{samples * edits} samples promised, more than {_MAX_SAMPLES}; cut it, or drop the sound'
    )


def cut_fragment(path) -> int | None:
  """Where the table of a fragment begins that the file ends inside of; None if in none."""
  with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
    last = collections.deque(_without_data(content), maxlen=1)
    if not last:
      return None
    start, stop = last.pop()
    size, kind = struct.unpack('>I4s', content[start : start + 8])
    return start if kind in _FRAGMENT and start + size > stop else None


def _without_data(content):
  """(start, stop) of what is not inside a box of pictures and sound, whose bytes say anything."""
  at = 0
  for _ in range(_MAX_SAMPLES):
    if at + 8 > len(content):
      return
    size, kind = struct.unpack('>I4s', content[at : at + 8])
    if size == 1:
      size = int.from_bytes(content[at + 8 : at + 16], 'big')
    if size < 8:  # 0: the last one; else no box, and what comes may be anything
      kind = kind if size == 0 else b''
      size = len(content) - at
    if kind != b'mdat':
      yield at, min(at + size, len(content))
    at += size
  raise BadClip(f'more than {_MAX_SAMPLES} parts')


def _counts(content, start, stop):
  """(kind of a table, entries that it promises)."""
  for found in _TABLES.finditer(content, start, stop):
    kind, at = found[0], found.end()
    if kind == b'cmov':
      raise BadClip('tables that are compressed, which no one writes any more')
    words = struct.unpack('>3I', content[at : at + 12].ljust(12, b'\0'))
    count = words[2] if kind in (b'stsz', b'stz2') else words[1]
    if count <= _MAX_SAMPLES or kind != b'stsz' or not _is_pcm(content, at, start, stop):
      yield kind, count


def _is_pcm(content, at, start, stop):
  """Whether the table at `at` counts the samples of a sound, which FFmpeg lists by thousands."""
  first = content.rfind(b'trak', start, at)
  track = content[max(first, start) : min(stop, first + 2**20)]
  track = track[: track.find(b'trak', 4) if b'trak' in track[4:] else None]
  if any(track.count(kind) != 1 for kind in (b'hdlr', b'stts', b'stsc', b'stsz')):
    return False
  if track.count(b'stco') + track.count(b'co64') != 1:
    return False
  word = lambda kind, k: int.from_bytes(track[track.index(kind) + 4 * k :][:4], 'big')
  handler = track[track.index(b'hdlr') + 12 :][:4]
  entries, chunks = word(b'stsc', 2), word(b'stco' if b'stco' in track else b'co64', 2)
  if handler != b'soun' or (word(b'stts', 2), word(b'stts', 4)) != (1, 1) or entries > 1000:
    return False
  longest = max((word(b'stsc', 4 + 3 * k) for k in range(entries)), default=0)
  return chunks * (longest // 1024 + 1) <= _MAX_SAMPLES
