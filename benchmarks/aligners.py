"""Aligners side by side: each changes one thing of the paper's, all from one GAN and one denoiser.

python benchmarks/aligners.py --claim=runs/claim/bench --seeds=0,1,2

They start from what `claim.py` trained for its run `paper` and are trained as that is; with --short
on 8 frames in batches of 4, minutes for each on two cores in place of half an hour. Clips are drawn
at full length. Writes docs/aligners.md, and the flows beside the true ones as docs/aligners.png.
Resumable: what is in --out is not done again. Several may run at once, each with an --only of its
own; the one without it writes.
"""

import dataclasses
import functools
import json
import pathlib
import sys

import flax
import jax
import numpy as np
from absl import flags

from hgdt_jax import cli

_CLAIM = flags.DEFINE_string('claim', 'runs/claim/bench', "A set's folder of claim.py.")
_OUT = flags.DEFINE_string('out', 'runs/aligners', 'Weights and measures are kept here.')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], "claim.py's, that train the run `paper`.")
_ONLY = flags.DEFINE_list('only', [], 'Of TRIED; all if empty.')
_CLIPS = flags.DEFINE_integer('clips', 512, 'Drawn of each.', lower_bound=2)
_WEIGHTS = flags.DEFINE_string('weights', '', "Folder of I3D's weights; the package's if empty.")
_SHORT = flags.DEFINE_bool('short', False, 'Train on short clips, and measure without I3D.')
_STEPS = flags.DEFINE_integer('steps', 0, "Of each; the recipe's if 0.")

TRIED = {  # what is changed of configs/paper.py:bench
  'base': ('the aligner of the paper', {}),
  'no_flow': ('no alignment: its flow held at zero', {'denoiser.aligner_radius': 1e-3}),
  'both': ('both directions of time', {'denoiser.aligner_direction': 'both'}),
  'matched': ('flow by a soft argmax of correlations', {'denoiser.aligner_flow': 'matched'}),
  'plain': ('no loss of warp consistency', {'aligner.consistency_weight': 0.0}),
  'whole': ('the U-Net trained on beside it', {'aligner.denoiser_learning_rate': 3e-4}),
  'gate_less': ('hiding a place is cheaper: a price of .15 for .3', {'aligner.hidden_price': 0.15}),
  'gate': ('hiding a place is cheaper: a price of .05 for .3', {'aligner.hidden_price': 0.05}),
  'longer': ('three times as many steps', {'aligner.steps': 1800}),
}
SHORT = {'frames': 8, 'batch': 4}
METHODS = {'draft_frames_aligned': 3, 'noise_frames_aligned': 4}  # and their steps
WITHOUT = {'draft_frames_aligned': 'draft_frames', 'noise_frames_aligned': 'noise_frames'}
COLUMNS = {  # metric: (heading, digits)
  'fvd': ('FVD', 1),
  'kvd': ('KVD', 2),
  'frechet_random_conv3d': ('Fréchet, random', 3),
  'motion_ratio': ('motion', 2),
  'drift_shape': ('shape', 4),
  'drift_scale': ('scale', 4),
  'drift_colour': ('colour', 4),
  'flicker_background': ('flicker', 2),
}
MEASURES = ('clip_i3d', 'clip_random_conv3d', 'motion', 'drift')
LEVELS = (0.1, 0.4, 0.7)  # at which flows are compared with the truth
FLOW_CLIPS = 32
SHOWN = 6  # clips of the picture
DRAWN = {"the paper's": 'base', 'hiding is cheaper': 'gate'}  # whose flows it shows
MOVING = 0.3  # pixels of a map from which a place counts as moving
DOCS = pathlib.Path(__file__).resolve().parents[1] / 'docs'


def main():
  out = pathlib.Path(_OUT.value)
  tried = _ONLY.value or TRIED
  for seed in _SEEDS.value:
    folder = out / f'seed{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    for name in tried:
      model = trained_model(folder, seed, name)
      for method, steps in METHODS.items():
        measure(folder, model, name, method, steps)
        if name == 'base':
          measure(folder, model, name, WITHOUT[method], steps)
      if not (folder / f'{name}.flow.json').exists():
        found = flows(model)
        (folder / f'{name}.flow.json').write_text(json.dumps(found))
  if not _ONLY.value:
    write(out, _SEEDS.value)
    first = _SEEDS.value[0]
    load = lambda name: trained_model(out / f'seed{first}', first, name)
    picture({label: load(name) for label, name in DRAWN.items()}, DOCS / 'aligners.png')


def recipe(name: str, seed: str, short: bool = False):
  """The configuration of one of TRIED; `short`: of how it is trained in short."""
  import claim_plan as plan

  config = plan.recipe('bench', 'paper')
  config.seed, config.log_every = int(seed), 50
  config.checkpoint.every = 10**6
  for path, value in TRIED[name][1].items():
    section, field = path.split('.')
    config[section][field] = value
  if _STEPS.value:
    config.aligner.steps = _STEPS.value
  if short:
    config.data.update(SHORT)
  return plan.build(config.to_dict())


def trained_model(folder, seed, name):
  """The model with the stage `aligner` of one of TRIED; trained where it is not, in `folder`."""
  from hgdt_jax import clip_sources, programs, rng, run, sharding, trained
  from hgdt_jax.stages import networks
  from hgdt_jax.state import Net

  cfg, mesh = recipe(name, seed, _SHORT.value), sharding.make_mesh(-1, 1)
  weights = start(seed)
  old = flax.traverse_util.flatten_dict(weights['diffusion']['denoiser'].params)
  begin = jax.jit(functools.partial(networks.init_denoiser, cfg))
  begun = begin(rng.stream(jax.random.key(cfg.seed), 'denoiser'))['params']
  new = flax.traverse_util.flatten_dict(begun)
  # Nobody trained the aligner yet: of each kind, its own first weights.
  kept = {path: new[path] if path[0].startswith('aligner') else old[path] for path in new}
  weights['diffusion'] = {'denoiser': Net(flax.traverse_util.unflatten_dict(kept))}
  model = trained.Trained(cfg, weights, mesh)
  program = lambda stage: programs.compiled(cfg, stage, mesh)
  whole = recipe(name, seed)
  source = clip_sources.of(whole, 'train', folder)
  source = First(source, cfg.data.frames) if _SHORT.value else source
  run.train_stage(model, 'aligner', program, source, {}, folder / name)
  return trained.Trained(whole, model.weights, mesh)


def start(seed):
  """GAN and per-frame denoiser of claim.py's run `paper`."""
  from hgdt_jax import trained

  found = trained.Trained.load(pathlib.Path(_CLAIM.value) / f'seed{seed}' / 'paper')
  return {stage: dict(found.weights[stage]) for stage in ('gan', 'diffusion')}


@dataclasses.dataclass
class First:
  """The first frames of a source's clips."""

  source: object
  frames: int

  def __getattr__(self, name):
    return getattr(self.source, name)

  def __len__(self):
    return len(self.source)

  def __getitem__(self, i):
    return self._cut(self.source[i])

  def sample(self, i, generator):
    return self._cut(self.source.sample(i, generator))

  def _cut(self, item):
    return item | {'video': item['video'][: self.frames]}


def measure(folder, model, name, method, steps):
  """Draws clips by a method, as claim.py does, and keeps a row of numbers for each."""
  import claim_plan as plan
  import claim_score

  from hgdt_jax.metrics import measures, networks

  path = folder / f'{name}.{method}.npz'
  if path.exists():
    return
  held_out, weights = _held_out(model, _CLIPS.value), _WEIGHTS.value or None
  clips = claim_score.draw(model, plan.Cell(name, method, steps), held_out['label'])
  make = lambda one: measures.make(one, lambda network: networks.load(network, weights))
  rows = lambda video: {one: claim_score.rows_of(make(one), video) for one in _measures()}
  if not (folder / 'real.npz').exists():
    np.savez(folder / 'real.npz', **rows(held_out['video']))
  np.savez(path, **rows(clips))
  print(name, method, 'drawn', flush=True)


def _measures():
  return [one for one in MEASURES if one != 'clip_i3d' or not _SHORT.value]


def _held_out(model, count):
  import input_pipeline
  from hgdt_jax import clip_sources

  return input_pipeline.fixed(clip_sources.of(model.cfg, 'test', DOCS), count)


def flows(model):
  """How well the aligners' flows agree with the true ones, on held-out clips at a noise level.

  Returns:
    `{aligner: [{'t', 'size', 'error', 'zero_error', 'cosine', 'gate', 'gate_hidden'}]}`; errors
    are end-point errors on moving, visible places, in pixels of the map; `zero_error` is that of
    no flow at all; `gate_hidden` is the gate where the frame before shows something else.
  """
  from hgdt_jax import clip_sources

  source = clip_sources.of(model.cfg, 'test', DOCS)
  items = [source[i] for i in range(FLOW_CLIPS)]
  truth = [source.flow(i) for i in range(FLOW_CLIPS)]
  true, valid = (np.stack([one[i] for one in truth]).astype(float) for i in (0, 1))
  found = {}
  for t in LEVELS:
    for name, (flow, gate) in flows_of(model, items, t).items():
      size = flow.shape[2]
      factor = true.shape[2] // size
      want, seen = _shrink(true, size) / factor, _shrink(valid[..., None], size)[..., 0]
      length = np.linalg.norm(want, axis=-1)
      moving = (seen > 0.99) & (length > MOVING)
      cosine = np.sum(flow * want, -1) / (np.linalg.norm(flow, axis=-1) * length + 1e-6)
      row = {
        't': t,
        'size': size,
        'error': np.linalg.norm(flow - want, axis=-1)[moving].mean(),
        'zero_error': length[moving].mean(),
        'cosine': cosine[moving].mean(),
        'gate': gate[seen > 0.99].mean(),
        'gate_hidden': gate[seen < 0.01].mean(),
      }
      found.setdefault(name, []).append({key: float(value) for key, value in row.items()})
  return found


def flows_of(model, items, t):
  """What the aligners say of clips diffused to t: `{aligner: (flow, gate)}`, in order of time."""
  from hgdt_jax import flows

  video = np.stack([item['video'] for item in items])
  label = np.array([item['label'] for item in items])
  levels = reversed(range(len(model.cfg.denoiser.multipliers)))
  names = ['aligner_middle', *(f'aligner{level}' for level in levels)]
  return dict(zip(names, flows.of_clips(model, video, label, t, 'draft_frames_aligned')))


def picture(models, path) -> None:
  """Frames, true flow, and what the finest aligner of each model says of them at t = .4.

  Hue is direction, brightness length (white: none; full at two pixels of the clip a frame); gates
  are black where closed. Args: models: `{label: model}` of one seed.
  """
  import matplotlib.pyplot as plt

  from hgdt_jax import clip_sources

  source = clip_sources.of(next(iter(models.values())).cfg, 'test', DOCS)
  items, at = [source[i] for i in range(SHOWN)], 7  # the eighth frame from the seventh
  size = items[0]['video'].shape[1]
  columns = {'frame before': [item['video'][at] for item in items]}
  columns['frame'] = [item['video'][at + 1] for item in items]
  columns['true flow'] = [_coloured(source.flow(i)[0][at]) for i in range(SHOWN)]
  for label, model in models.items():
    flow, gate = flows_of(model, items, 0.4)['aligner0']
    wide = lambda maps: np.repeat(np.repeat(maps, size // len(maps), 0), size // len(maps), 1)
    factor = size // flow.shape[2]
    columns[f'flow,\n{label}'] = [_coloured(wide(one[at]) * factor) for one in flow]
    columns[f'gate,\n{label}'] = [np.repeat(wide(one[at])[..., None], 3, -1) for one in gate]
  figure, axes = plt.subplots(
    SHOWN, len(columns), figsize=(1.5 * len(columns), 1.5 * SHOWN + 0.4), layout='tight'
  )
  for column, (title, pictures) in enumerate(columns.items()):
    axes[0, column].set_title(title, fontsize=8)
    for row, one in enumerate(pictures):
      axes[row, column].imshow(one, vmin=0, vmax=1, interpolation='nearest')
      axes[row, column].set_axis_off()
  figure.savefig(path, dpi=110)
  plt.close(figure)


def _coloured(flow):
  """Flow `[H, W, 2]` in pixels -> RGB."""
  from matplotlib.colors import hsv_to_rgb

  hue = (np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi)) % 1.0
  length = np.clip(np.linalg.norm(flow, axis=-1) / 2.0, 0, 1)
  return hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], axis=-1))


def _shrink(maps, size):
  """Mean of each square: [N, T, H, W, C] -> [N, T, size, size, C]."""
  from skimage.measure import block_reduce

  side = maps.shape[2] // size
  return block_reduce(maps, (1, 1, side, side, 1), np.mean)


def write(out, seeds) -> None:
  """docs/aligners.md, of what is in `out`."""
  from claim_tables import markdown

  from hgdt_jax.metrics import table

  on = f', but on {SHORT["frames"]} frames in batches of {SHORT["batch"]}' if _SHORT.value else ''
  options = {'how': ' --short' * _SHORT.value, 'on': on, 'clips': _CLIPS.value}
  text = [_HEAD.format(seeds=', '.join(seeds), **options)]
  columns = [metric for metric in COLUMNS if table.find(metric).measure in _measures()]
  notes = out / 'notes.md'  # typed by whoever ran it
  text += [notes.read_text()] if notes.exists() else []
  for method, without in WITHOUT.items():
    start_of = 'a draft' if method.startswith('draft') else 'noise'
    text.append(f'\n## From {start_of}, {METHODS[method]} steps\n')
    lines = [['', 'seeds', *(COLUMNS[metric][0] for metric in columns)]]
    rows = {f'base.{without}': 'no aligner'}
    rows |= {f'{name}.{method}': said for name, (said, _) in TRIED.items()}
    for row, said in rows.items():
      against = f'base.{method}'
      of = [out / f'seed{s}' for s in seeds if (out / f'seed{s}' / f'{row}.npz').exists()]
      if of:
        cells = [_cell(of, row, against, metric) for metric in columns]
        lines.append([said, str(len(of)), *cells])
    text.append(markdown(lines))
  text.append(_FLOWS)
  lines = [['', 'map', 't', 'error', 'of no flow', 'cosine', 'gate', 'gate where hidden']]
  for name, (said, _) in TRIED.items():
    path = out / f'seed{seeds[0]}' / f'{name}.flow.json'
    for aligner, rows in json.loads(path.read_text()).items() if path.exists() else ():
      for row in rows if aligner == 'aligner0' else ():
        values = [f'{row[k]:.2f}' for k in ('error', 'zero_error', 'cosine', 'gate', 'gate_hidden')]
        lines.append([said, f'{row["size"]:.0f}', f'{row["t"]}', *values])
  text += [markdown(lines), _PICTURE]
  (DOCS / 'aligners.md').write_text('\n'.join(text) + '\n')


def _cell(folders, row, against, metric):
  """A mean over the seeds, and each seed's difference to the row `against`, bold if it is one."""
  from hgdt_jax.metrics import paired, table

  digits = COLUMNS[metric][1]
  one, values, apart = table.find(metric), [], []
  for folder in folders:
    real, mine, other = (
      _rows(folder / f'{name}.npz', one.measure) for name in ('real', row, against)
    )
    values.append(one.value(real, mine))
    if row == against:
      continue
    if one.of_both:
      found = paired.difference(metric, real, mine, other, count=100)
      low, value, high = found.low, found.value, found.high
    else:
      each = [np.array([one.statistic(None, r[None]) for r in rows]) for rows in (mine, other)]
      differ = each[0] - each[1]
      differ = differ[np.isfinite(differ)]
      value, spread = differ.mean(), 1.96 * differ.std(ddof=1) / np.sqrt(len(differ))
      low, high = value - spread, value + spread
    mark = '**' if low > 0 or high < 0 else ''
    apart.append(f'{mark}{value:+.{digits}f}{mark}')
  mean = f'{np.mean(values):.{digits}f}'
  return f'{mean} ({" · ".join(apart)})' if apart else mean


def _rows(path, measure):
  with np.load(path) as file:
    return file[measure]


_HEAD = """# Aligners, side by side

Written by `python benchmarks/aligners.py{how}`: each is trained as the run `paper` of
[claim.md](claim.md) is (600 steps){on}, all from one GAN and one denoiser of single
frames, and what is changed is the aligner alone. {clips} clips, seeds {seeds}. In brackets, each
seed's difference to the aligner of the paper, paired by code; bold where its 95% interval does not
hold 0.
"""

_FLOWS = """
## The flow beside the true one

Of held-out synthetic clips diffused to t, whose flow is known, at the finest aligner, the first
seed: end-point error on moving places in pixels of the map, that of no flow at all, the cosine
between the two, and the occlusion gate where the frame before shows the same and where it does not.
"""

_PICTURE = """
![Frames, true flow, and the flows and gates of two aligners, at t = .4](aligners.png)

*Hue: direction; strength of the colour: length, full at two pixels a frame. A gate is white where
what the frame before shows is let through.*
"""


if __name__ == '__main__':
  sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
  cli.run(main)
