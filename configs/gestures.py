"""Gestures of sign language, from the shipped weights `synthetic`: the weights `gestures`.

`--config=configs/gestures.py --config.data.path=SET`, what `input_pipeline.prepare` made of 20 of
Intel's films (docs/weights.md has both commands): 54 clips of 8 frames of 32x32 train it, and 14
are held out. Some 35 minutes of two CPU cores.
"""

from configs import hybrid

PRESETS = ('small',)


def get_config(preset: str = 'small'):
  if preset not in PRESETS:
    raise ValueError(f'configs/gestures.py:{preset}: no such preset; want {PRESETS[0]}')
  config = hybrid.get_config('synthetic')
  config.init_from = ('synthetic',)
  config.data.source = 'arrayrecord'
  # So few clips are soon known by heart: critics see each of them changed in many ways. Not
  # mirrored, for a hand has its meaning.
  config.gan.update(steps=3500, augment='fixed', augment_probability=0.2)
  config.diffusion.update(steps=3500)
  config.aligner.update(steps=250)
  config.joint.update(steps=500)
  config.evaluation.update(clips=14, batch=14, checks=4)
  return config
