"""How many of 16 bits are used: cameras write 10 or 12, which would look black if taken for 16."""

from collections.abc import Iterable

import numpy as np

from input_pipeline.clip import BadClip

_SAMPLED = 8  # frames of a clip that are looked at
_DEPTHS = (8, 10, 12, 16)  # not 14: a clip of 16 bits may well be dark enough to be taken for it


def of(frames: Iterable[np.ndarray]) -> int:
  """Returns the bits of a clip by its range: the fewest that hold the highest value seen.

  `frames` are some of it (`sampled`). Black ones, or none, say nothing: the fewest there are.
  """
  highest = max((int(frame.max()) for frame in frames), default=0)
  return next((bits for bits in _DEPTHS if highest < 2**bits), _DEPTHS[-1])


def sampled(count: int) -> np.ndarray:
  """Up to `_SAMPLED` frames of `count`, evenly spread, the first and last among them."""
  return np.unique(np.linspace(0, count - 1, _SAMPLED).round().astype(np.int64))


def in_8_bits(frame: np.ndarray, bits: int) -> np.ndarray:
  """Frame of `bits` bits as uint8. Raises BadClip for one of more."""
  lowest, highest = int(frame.min()), int(frame.max())
  if lowest < 0 or highest >= 2**bits:
    raise BadClip(
      f'a value of {lowest if lowest < 0 else highest}, where {bits} bits are taken to be used'
      ' of 16: by the brightest of some files, or frames, of the folder'
    )
  return (frame >> (bits - 8)).astype(np.uint8)
