"""What becomes of a clip that is longer than those trained on: its first window and its last.

python benchmarks/long_clips.py --source=synthetic --frames=64 --clips=256

Prints two tables of Markdown, a row for each way to sample, all from the same codes and noise. Of
clips of the synthetic source alone, whose drift a probe can read. `real` is another set of real
clips as long.
"""

from absl import flags

import input_pipeline
from hgdt_jax import cli, drawing, machine
from hgdt_jax.metrics import score
from hgdt_jax.metrics.scored import Uncertainty
from hgdt_jax.trained import Trained

_SOURCE = flags.DEFINE_string('source', 'synthetic', 'Weights or a workdir.')
_FRAMES = flags.DEFINE_integer('frames', 64, 'Of a clip.', lower_bound=1)
_CLIPS = flags.DEFINE_integer('clips', 256, 'Of each row.', lower_bound=2)
_BOOTSTRAP = flags.DEFINE_integer('bootstrap', 200, 'Resamplings of an interval.', lower_bound=2)

ROWS = {  # method: (what it is called, steps)
  'gan': ('GAN', 0),
  'draft': ('draft, unrefined', 0),
  'draft_video_gan': ('hybrid, no aligner', 3),
  'draft_video_aligned_gan': ('hybrid', 3),
  'diffusion': ('diffusion', 4),
}
OF_A_WINDOW = {  # metric: (heading, digits)
  'frechet_random_conv3d': ('Fréchet, random 3D conv ↓', 2),
  'motion_ratio': ('motion → 1', 2),
  'drift_shape': ('shape ↓', 3),
  'drift_scale': ('scale ↓', 4),
  'drift_colour': ('colour ↓', 4),
  'flicker_background': ('flicker ↓', 2),
}
OF_ALL_FRAMES = {
  'drift_scale_slow': ('scale, first to last quarter', 3),
  'drift_colour_slow': ('colour, first to last quarter', 3),
}


def main():
  machine.start()
  model, frames = Trained.load(_SOURCE.value), _FRAMES.value
  window = model.cfg.data.frames
  if model.cfg.data.source != 'synthetic' or frames < window:
    raise ValueError(f'want a model of synthetic clips, and at least its {window} frames')
  held_out, again = (_real(model.cfg, split, frames) for split in ('test', 'train'))
  clips = {'real': again['video']}
  for method, (label, steps) in ROWS.items():
    clips[label] = _drawn(model, method, steps, held_out['label'], frames)
    print(f'{label}: drawn', flush=True)
  real = held_out['video']
  windows = {f'first {window}': slice(window), f'last {window}': slice(frames - window, None)}
  lines = _heading('frames', OF_A_WINDOW)
  for label, video in clips.items():
    for name, cut in windows.items():
      lines.append(_line([label, name], real[:, cut], video[:, cut], OF_A_WINDOW))
  lines += ['', *_heading('frames', OF_ALL_FRAMES)]
  for label, video in clips.items():
    lines.append(_line([label, f'all {frames}'], real, video, OF_ALL_FRAMES))
  print('\n'.join(lines))


def _real(cfg, split, frames):
  source = input_pipeline.make_source(
    'synthetic', split=split, frames=frames, size=cfg.data.size, count=_CLIPS.value
  )
  return input_pipeline.fixed(source, _CLIPS.value)


def _drawn(model, method, steps, label, frames):
  cfg = model.cfg

  def draw(rows, first):
    options = dict(first=first, steps=steps, tau=cfg.hybrid.tau, frames=frames)
    return model.draw(method, label[rows], cfg.seed, **options)

  clips, _ = drawing.in_batches(cfg, len(label), draw)
  return clips


def _heading(of, columns):
  names = ['', of, *(heading for heading, _ in columns.values())]
  return [f'| {" | ".join(names)} |', '|---' * len(names) + '|']


def _line(names, real, video, columns):
  found = score.score_clips(real, video, list(columns), uncertainty=Uncertainty(_BOOTSTRAP.value))
  cells = []
  for metric, (_, digits) in columns.items():
    low, high = found[metric].stamp['interval']
    cells.append(f'{found[metric].value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})')
  return f'| {" | ".join([*names, *cells])} |'


if __name__ == '__main__':
  cli.run(main)
