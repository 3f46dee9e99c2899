"""Weizmann actions (wave1, wave2, jack, bend by nine people), 64x64 and 16 frames, in the hybrid.

`--config=configs/weizmann.py --config.data.path=WEIZMANN`, a folder of clips with train/ and test/;
the people of test/ are in no clip of train/. An example for any set so small: some 190 windows of
24 clips train it.

small  100 minutes of a CPU core (default): whatever looks at pixels sees them in squares of 4
gpu    one CUDA GPU, the networks of configs/hybrid.py:gpu
"""

from configs import hybrid

PRESETS = ('small', 'gpu')


def get_config(preset: str = 'small'):
  if preset not in PRESETS:
    raise ValueError(f'configs/weizmann.py:{preset}: no such preset; want {", ".join(PRESETS)}')
  config = hybrid.get_config(preset)
  config.data.update(source='folder', flip=True)
  # So few clips are soon known by heart: critics see each of them changed in many ways.
  config.gan.update(augment='fixed', augment_probability=0.2)
  config.draft.image_share = 0.3
  if preset == 'gpu':
    config.gan.augment = 'adaptive'
    return config
  config.data.update(frames=16, size=64)
  config.draft.generator.update(patch=4, width=48, max_width=128)
  config.draft.critic.update(frame_patch=4, clip_patch=4, frames=4)
  config.denoiser.update(patch=4, width=48)
  config.gan.update(steps=2500)
  config.diffusion.update(steps=2400)
  config.aligner.update(steps=150)
  config.joint.update(steps=300, refiner_rows=4)
  config.hybrid.update(tau=0.35)
  return config
