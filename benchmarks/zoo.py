"""Published GANs on one denoiser: the table and the picture of docs/zoo.md, from its runs.

python benchmarks/zoo.py --runs=runs/zoo

Reads what the runs wrote, and trains and scores nothing. Prints the table; draws docs/zoo.png.
"""

import pathlib

from absl import flags

from hgdt_jax import cli
from hgdt_jax.report import contents, pictures, plots

_RUNS = flags.DEFINE_string('runs', 'runs/zoo', 'Folder of the workdirs, named as the rows are.')
_OUT = flags.DEFINE_string('out', 'docs/zoo.png', 'The picture.')
_CLIPS = flags.DEFINE_integer('clips', 2, 'Of each method in the picture.', lower_bound=1)

ROWS = (  # workdir, method, label
  ('diffusion', 'real', 'Real'),
  ('diffusion', 'diffusion', 'Diffusion'),
  ('vgan', 'gan', 'VGAN'),
  ('vgan', 'hybrid', 'hybrid on it'),
  ('mocogan', 'gan', 'MoCoGAN'),
  ('mocogan', 'hybrid', 'hybrid on it'),
  ('imaginator', 'diffusion_first_frame', 'Diffusion, image'),
  ('imaginator', 'gan_first_frame', 'ImaGINator'),
  ('imaginator', 'hybrid_first_frame', 'hybrid on it'),
)
COLUMNS = {  # metric: (heading, factor, digits)
  'frechet_random_conv3d': ('Fréchet, random 3D conv ↓', 1, 3),
  'recall_random_conv3d': ('recall ↑', 1, 2),
  'motion_ratio': ('motion ratio → 1', 1, 2),
  'warping_error': ('warping error ↓, thousandths', 1000, 2),
  'temporal_flickering': ('temporal flickering → real', 1, 3),
  'psnr_continued': ('PSNR of continuations, dB ↑', 1, 1),
}


def main():
  runs = {name: contents.read(pathlib.Path(_RUNS.value) / name) for name, *_ in ROWS}
  print(table(runs))
  strips = lambda name, method: pictures.cut(runs[name].samples[method] / 'strip.png')
  shown = [(label, plots.colour(method), strips(name, method)) for name, method, label in ROWS]
  pathlib.Path(_OUT.value).write_bytes(pictures.side_by_side(shown, _CLIPS.value))


def table(runs):
  """A line of Markdown for each of ROWS; what a run did not score is left empty."""
  lines = [['', *(heading for heading, _, _ in COLUMNS.values())], ['---'] * (1 + len(COLUMNS))]
  for name, method, label in ROWS:
    scores = {row['method']: row['metrics'] for row in runs[name].results}[method]
    cells = [
      f'{factor * scores[metric]:.{digits}f}' if metric in scores else ''
      for metric, (_, factor, digits) in COLUMNS.items()
    ]
    lines.append([label, *cells])
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
  cli.run(main)
