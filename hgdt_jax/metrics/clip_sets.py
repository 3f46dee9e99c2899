"""A set of clips that can be walked through in batches, more than once."""

import functools
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from hgdt_jax.metrics import ranges

_CHANNELS = (1, 3)
Clips = UInt8[np.ndarray, 'b t h w c']


@runtime_checkable
class ClipSet(Protocol):
  """What scoring needs to know of a set.

  A set may find on a walk that clips of it cannot be read, and leave them out: the attributes are
  those of the clips that the last walk gave, and before the first of those that it is to give.

  Attributes:
    groups: one entry a clip: clips of one file share a number. Sets the number of clips.
    facts: what the stamp says of the data: frames, stride, resolution, where from.
    fingerprint: changes whenever a pixel that `batches` gives does; '' where that is not known.
  """

  groups: Int[np.ndarray, ' n']
  facts: dict[str, Any]
  fingerprint: str

  def batches(self) -> Iterator[Clips]:
    """Always in the same order; how many, and how large they are, may change on the way."""


class Pairs(NamedTuple):
  """Real and generated clips, the i-th with the i-th, in batches of equal shapes."""

  real: ClipSet
  fake: ClipSet

  def check(self) -> None:
    """ValueError where facts that are known before any batch say that shapes differ."""
    for fact in ('frames', 'resolution'):
      real, fake = (side.facts.get(fact) for side in self)
      if real != fake:
        raise ValueError(
          f'paired clips differ in shape: {fact} of the real ones {real}, of the generated {fake}; '
          'resize or cut them alike first'
        )

  def batches(self) -> Iterator[tuple[Clips, Clips]]:
    """Batches of both, side by side. ValueError where they differ in shape."""
    return equal_shapes(zip(self.real.batches(), self.fake.batches(), strict=True))


def equal_shapes(batches: Iterable[tuple[Clips, Clips]]) -> Iterator[tuple[Clips, Clips]]:
  for real, fake in batches:
    if real.shape != fake.shape:
      raise ValueError(
        f'paired clips differ in shape: real {list(real.shape[1:])}, generated '
        f'{list(fake.shape[1:])}; resize them to one size first'
      )
    yield real, fake


class ArrayClips:
  """Clips in memory, uint8 `[N, T, H, W, C]`. ValueError for anything else.

  Consecutive frames, unless `facts` say otherwise; a fact that is None is not known, and left out.
  """

  def __init__(self, clips: Shaped[np.ndarray, '...'], batch: int = 16, **facts):
    clips = np.asarray(clips)
    if clips.ndim != 5 or clips.dtype != np.uint8 or not clips.size:
      raise ValueError(
        f'clips must be uint8 [N, T, H, W, C] and not empty, got {clips.dtype} {list(clips.shape)}'
      )
    if clips.shape[-1] not in _CHANNELS:
      axis = next((k for k in (1, 2) if clips.shape[k] in _CHANNELS), None)
      hint = f'; np.moveaxis(clips, {axis}, -1) makes it so' if axis else ''
      raise ValueError(
        f'clips must be uint8 [N, T, H, W, C], C of 1 or 3, got {list(clips.shape)}{hint}'
      )
    ranges.check(clips)
    _, frames, height, width, _ = clips.shape
    self._clips, self._batch = clips, batch
    self.groups = np.arange(len(clips))
    facts = {'frames': frames, 'stride': 1, 'resolution': f'{width}x{height}'} | facts
    self.facts = {name: value for name, value in facts.items() if value is not None}

  @functools.cached_property
  def fingerprint(self) -> str:
    return hashlib.sha256(repr(self._clips.shape).encode() + self._clips.tobytes()).hexdigest()

  def batches(self) -> Iterator[Clips]:
    for start in range(0, len(self._clips), self._batch):
      yield self._clips[start : start + self._batch]
