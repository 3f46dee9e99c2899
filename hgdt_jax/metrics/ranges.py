"""Pixels that are not 0 to 255, though they are uint8: cast floats, or few bits in many."""

import collections
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

_CAST = {0, 1, 255}  # what floats of [0, 1] are as uint8, and those of [-1, 1]
_DARK = 16  # of 10 or 12 bits in uint16, the upper 8 are below this
Pixels = UInt8[np.ndarray, '...']


def check(clips: Iterable[Pixels]) -> None:
  """ValueError where no pixel of any of `clips` tells that they are of 0 to 255; see `watched`."""
  collections.deque(watched(clips, 'clips'), maxlen=0)


def watched(batches: Iterable[Pixels], what: str, stored: bool = False) -> Iterator[Pixels]:
  """Gives `batches` on; ValueError after the last where no pixel told that they are of 0 to 255.

  They are looked at until one tells: of most sets, the first. Black ones are fine, and masks of 0
  and 255. `what` they are, for the error. `stored`: in arrays, which may have been of 16 bits.
  """
  seen, wrong = np.zeros(256, bool), None
  for batch in batches:
    if wrong != '':
      for clip in batch:
        seen |= np.bincount(clip.reshape(-1), minlength=256) > 0
      wrong = _wrong(seen, stored)
    yield batch
  if wrong:
    raise ValueError(f'{what}: {wrong}')


def _wrong(seen, stored) -> str | None:
  """What is wrong with pixels of these levels; '' for nothing, None where all are black."""
  levels = np.flatnonzero(seen)
  if not levels[-1]:
    return None
  if seen[1] and set(levels.tolist()) <= _CAST:
    return (
      f'pixels are {", ".join(map(str, levels))} alone: floats of [0, 1] or [-1, 1] cast to uint8? '
      'Scale them to 0 to 255 first'
    )
  if stored and levels[-1] < _DARK:
    return (
      f'no pixel is brighter than {levels[-1]} of 255: 10 or 12 bits in uint16, or another range? '
      'Scale them to all of the type first'
    )
  return ''
