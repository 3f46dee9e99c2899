"""Whether a model of few clips knows them by heart: how near what it draws is to what it saw.

python benchmarks/by_heart.py --workdir=runs/gestures --out=by_heart.png

Prints, for the held-out clips and each way to sample, the median distance to the nearest training
clip: in pixels (root mean square, 0..255), and in features of a random 3D network. A copy is at 0;
where draws are nearer than held-out clips are, the model keeps to what it saw. The picture has what
the hybrid drew, and under each clip the training clip nearest in pixels.
"""

import pathlib

import numpy as np
from absl import flags
from scipy.spatial import distance

import input_pipeline
from hgdt_jax import cli, clip_sources, drawing, machine
from hgdt_jax.metrics import score
from hgdt_jax.sampling import clips as films
from hgdt_jax.trained import Trained

_WORKDIR = flags.DEFINE_string('workdir', None, 'A run.', required=True)
_CLIPS = flags.DEFINE_integer('clips', 64, 'Drawn of each method.', lower_bound=2)
_SHOWN = flags.DEFINE_integer('shown', 5, 'Clips in the picture.', lower_bound=1)
_OUT = flags.DEFINE_string('out', 'by_heart.png', 'The picture.')


def main():
  machine.start()
  workdir = pathlib.Path(_WORKDIR.value)
  model = Trained.load(workdir)
  known, held_out = (_clips(model.cfg, workdir, split) for split in ('train', 'test'))
  drawn = {method: _drawn(model, method) for method in model.methods}
  print(f'{len(known)} clips of training, {len(held_out)} held out, {_CLIPS.value} of each method')
  print(f'{"":18}{"pixels":>8}{"features":>10}')
  for name, clips in {'held out': held_out, **drawn}.items():
    medians = [np.median(_apart(clips, known, space).min(axis=1)) for space in (_pixels, _features)]
    print(f'{name:18}{medians[0]:8.1f}{medians[1]:10.3f}', flush=True)
  shown = drawn['hybrid'][: _SHOWN.value]
  nearest = known[_apart(shown, known, _pixels).argmin(axis=1)]
  pairs = np.stack([shown, nearest], axis=1)
  films.write_film_strip(pairs.reshape(-1, *shown.shape[1:]), _OUT.value)


def _clips(cfg, workdir, split):
  source = clip_sources.of(cfg, split, workdir)
  return input_pipeline.fixed(source, len(source))['video']


def _drawn(model, method):
  cfg = model.cfg
  steps = cfg.hybrid.steps

  def draw(rows, first):
    label = np.full(len(rows), -1)
    return model.draw(method, label, cfg.seed, first=first, steps=steps, tau=cfg.hybrid.tau)

  clips, _ = drawing.in_batches(cfg, _CLIPS.value, draw)
  return clips


def _apart(clips, others, space):
  """`[N, M]`, root mean squares."""
  near = distance.cdist(space(clips), space(others))
  return near / np.sqrt(space(others[:1]).size)


def _pixels(clips):
  return clips.reshape(len(clips), -1).astype(np.float64)


def _features(clips):
  return score.measure_clips(clips, 'clip_random_conv3d')[:, 0]


if __name__ == '__main__':
  cli.run(main)
