"""What `sample` is asked for."""

import dataclasses
import pathlib


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
  condition: pathlib.Path | None = None
  at: tuple[int, ...] = ()
