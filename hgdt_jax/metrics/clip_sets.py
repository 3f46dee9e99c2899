"""A set of clips that can be walked through in batches, more than once."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np


class ClipSet(Protocol):
  """What scoring needs to know of a set.

  Attributes:
    groups: int `[N]`, one entry a clip: clips of one file share a number. Sets the number of clips.
    facts: what the stamp says of the data: frames, stride, resolution, where from.
    fingerprint: changes whenever a pixel that `batches` gives does; '' where that is not known.
  """

  groups: np.ndarray
  facts: dict[str, Any]
  fingerprint: str

  def batches(self) -> Iterator[np.ndarray]:
    """uint8 `[B, T, H, W, C]`, always in the same order; B, H and W may change on the way."""


class ArrayClips:
  """Clips in memory, uint8 `[N, T, H, W, C]`. ValueError for anything else.

  Consecutive frames, unless `facts` say otherwise; a fact that is None is not known, and left out.
  """

  fingerprint = ''  # nothing to gain: they were read already

  def __init__(self, clips: np.ndarray, batch: int = 16, **facts):
    clips = np.asarray(clips)
    if clips.ndim != 5 or clips.dtype != np.uint8 or not clips.size:
      raise ValueError(
        f'clips must be uint8 [N, T, H, W, C] and not empty, got {clips.dtype} {list(clips.shape)}'
      )
    _, frames, height, width, _ = clips.shape
    self._clips, self._batch = clips, batch
    self.groups = np.arange(len(clips))
    facts = {'frames': frames, 'stride': 1, 'resolution': f'{width}x{height}'} | facts
    self.facts = {name: value for name, value in facts.items() if value is not None}

  def batches(self):
    for start in range(0, len(self._clips), self._batch):
      yield self._clips[start : start + self._batch]
