"""The hybrid with a transformer as its denoiser: `--config=configs/dit.py`, or `:small`.

The rest is that of `configs/hybrid.py`: 16 frames of 64x64 as in its preset gpu, or small, 8 frames
of 32x32 on two CPU cores. The transformer has no aligner: that stage is left out, and the refiner
is told no latents of the draft.
"""

import ml_collections

from configs import hybrid

PRESETS = ('', 'small')


def get_config(preset: str = ''):
  if preset not in PRESETS:
    raise ValueError(f'configs/dit.py:{preset}: no such preset; want none or small')
  small = preset == 'small'
  config = hybrid.get_config(preset or 'gpu')
  config.stages = ('gan', 'diffusion', 'joint')
  config.denoiser = denoiser = ml_collections.ConfigDict()
  denoiser.name = 'dit'
  denoiser.width = 128 if small else 384  # features of a token
  denoiser.depth = 2 if small else 6  # pairs of a block in space and one in time
  denoiser.heads = 4 if small else 6
  denoiser.patch = 4  # a token is a square of pixels of this side
  return config
