"""HGDT-SM to the letter: `--config=configs/paper.py` or `configs/paper.py:PRESET`.

A GAN drafts all frames; diffusion enriches each frame alone; only the aligner, which ties each
frame's latent to the one before it, knows of time. Trained in the paper's order: the GAN, then the
diffusion module, then the aligner with both of them frozen, told the GAN's latents. Everything that
`configs/hybrid.py` does beyond that (temporal layers in the U-Net, training on clips, the stage
`joint`) is off. The presets are those of `configs/hybrid.py`.
"""

from configs import hybrid

PRESETS = hybrid.PRESETS


def get_config(preset: str = 'small'):
  if preset not in PRESETS:
    raise ValueError(f'configs/paper.py:{preset}: no such preset; want {", ".join(PRESETS)}')
  config = hybrid.get_config(preset)
  config.stages = ('gan', 'diffusion', 'aligner')
  config.diffusion.frames_share = 1.0  # of the aligner's rows too: it is the only tie
  if preset == 'small':
    config.aligner.steps = 600
  return config
