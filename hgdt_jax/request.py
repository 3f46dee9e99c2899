"""What `sample` is asked for."""

import dataclasses
import math
import os

_BOUNDS = {  # least and most
  'num': (1, math.inf),
  'steps': (0, math.inf),
  'tau': (0, 1),
  'guidance': (-math.inf, math.inf),
  'rescale': (0, 1),
  'frames': (0, math.inf),
  'seed': (0, 2**32 - 1),  # a key takes no more: a larger one would draw a smaller one's clips
  'label': (-1, math.inf),
}


@dataclasses.dataclass(frozen=True)
class Request:
  """Clips of one model; 0, '' and None mean as it is configured.

  Attributes:
    method: of `methods`.
    num: how many.
    steps: of the denoiser.
    tau: noise level that drafts are diffused to; at 0 they are not refined.
    sampler: of `SAMPLERS`.
    threshold: of `THRESHOLDS`.
    guidance: scale of classifier-free guidance towards `label`; None: none.
    interval: the noise levels that are guided.
    rescale: in [0, 1], how far guided clips get back the contrast of unguided ones.
    frames: of a clip.
    seed: of codes and noise.
    label: the class of all clips; -1: none.
    condition: an image, a clip or a folder of frames, whose first frames the clips are to contain.
    at: the numbers these have in the clips, from 0; (): from 0 on, as many as there are.

  Raises:
    ValueError: a number is out of bounds, `interval` does not rise in [0, 1], or `at` has a number
      twice or below 0.
  """

  method: str = 'hybrid'
  num: int = 16
  steps: int = 0
  tau: float | None = None
  sampler: str = ''
  threshold: str = ''
  guidance: float | None = None
  interval: tuple[float, float] = (0.0, 1.0)
  rescale: float = 0.0
  frames: int = 0
  seed: int = 0
  label: int = -1
  condition: str | os.PathLike | None = None
  at: tuple[int, ...] = ()

  def __post_init__(self):
    for name, (least, most) in _BOUNDS.items():
      value = getattr(self, name)
      if value is not None and not (math.isfinite(value) and least <= value <= most):
        bounds = f' from {least} to {most}' if math.isfinite(most) else f' of at least {least}'
        bounds = bounds if math.isfinite(least) else ' that is finite'
        raise ValueError(f'{name}={value}: want a number{bounds}')
    low, high = self.interval
    if not 0 <= low < high <= 1:
      raise ValueError(f'interval={self.interval}: want two noise levels in [0, 1], lower first')
    if len(set(self.at)) < len(self.at) or min(self.at, default=0) < 0:
      raise ValueError(f'at={self.at}: want different whole numbers from 0')
