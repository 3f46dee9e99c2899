"""The clips of a run's cells, what is measured of each, and strips to look at; for `claim.py`."""

import dataclasses
import functools
import json
import pathlib
import time

import claim_plan as plan
import numpy as np

import input_pipeline
from hgdt_jax import clip_sources, laws, trained
from hgdt_jax.metrics import measures, networks, rivals

MEASURES = ('clip_i3d', 'clip_random_conv3d', 'motion')
# How steady a clip is: read by a probe of the synthetic source, or else of whole frames.
STEADY = {'bench': ('drift',), 'weizmann': ('acd_colour', 'acd_lpips')}
SHOWN = 6  # clips of a strip


def score(workdir: pathlib.Path, name: str, weights: str | None, part: int = 0) -> None:
  """Writes `cells/CELL.npz` and `.json` of a part of a run's cells.

  Of those that are there, only what is not yet measured is, of clips drawn again.

  Args:
    part: of `plan.parts` of the run. What is beside the cells goes with the first part: the real
      clips, and tests of the laws of what the refiner starts from.
  """
  model, cells = trained.Trained.load(workdir), workdir.parent / 'cells'
  cells.mkdir(exist_ok=True)
  keep = functools.partial(_keep, cells, name, weights)
  held_out = _clips(model.cfg, workdir, 'test')
  for cell in plan.parts(workdir.name)[part]:
    _cell(model, cell, held_out['label'], workdir, name, keep)
  path = cells / f'{workdir.name}.laws'
  if part == 0 and 'gan' in model.cfg.stages and not path.exists():
    some = {key: rows[: plan.FEW] for key, rows in held_out.items()}
    path.write_text(json.dumps(_laws(model, some)))
  if part == 0 and workdir.name == 'hybrid':
    keep('real', lambda: held_out['video'], groups=held_out['group'])
    again = _clips(model.cfg, workdir, 'train')
    keep('real_again', lambda: again['video'], groups=again['group'])
    keep('rival.first_frame_repeated', lambda: rivals.first_frame_repeated(held_out['video']))


def _cell(model, cell, label, workdir, name, keep):
  """A cell, and what is made of the same clips."""
  facts = {'evaluations': model.evaluations(cell.method, max(cell.steps, 1))}
  some = label if cell.whole else label[: plan.FEW]
  keep(cell.name, functools.partial(draw, model, cell, some), **facts)
  if cell.method == 'draft' and workdir.name == 'hybrid':
    for sigma in plan.BLURS:
      blurred = lambda s=sigma: rivals.blurred(draw(model, cell, some), s)
      keep(f'rival.draft_blurred_{sigma}', blurred)
  if cell in plan.LONG and name == 'bench':
    _long(model, cell, label, workdir, keep)


def _long(model, cell, label, workdir, keep):
  """The first and the last window of long clips, drawn and real."""
  frames, count, window = plan.LONG_FRAMES, plan.LONG_CLIPS, model.cfg.data.frames
  if cell == plan.LONG[0]:
    data = dataclasses.replace(model.cfg.data, frames=frames)
    evaluation = dataclasses.replace(model.cfg.evaluation, clips=min(count, len(label)))
    longer = dataclasses.replace(model.cfg, data=data, evaluation=evaluation)
    _windows('real', _clips(longer, workdir, 'test')['video'], window, keep)
  _windows(cell.name, draw(model, cell, label[:count], frames), window, keep)


def _windows(row, video, frames, keep):
  keep(f'long.{row}.first', lambda: video[:, :frames])
  keep(f'long.{row}.last', lambda: video[:, -frames:])


def _laws(model, clips):
  """Whether what the refiner starts from follows the law it was trained on, at tau: by test."""
  tau = model.cfg.hybrid.tau
  (alone,) = laws.truncation(model, clips, [tau], ['draft'])
  found = {'clips alone': {key: alone[key] for key in ('statistic', 'p_value', 'upper')}}
  if model.cfg.bridges:
    for latents in ('gan', 'bridge'):
      test = laws.pairs(model, clips, tau, f'draft_video_{latents}')
      found[f'clips and latents of {latents}'] = test._asdict()
  return found


def clock(workdir: pathlib.Path, name: str, repeats: int = 3) -> None:
  """Writes `cells/RUN.seconds`: of a clip of the cells of the main table, when all is compiled."""
  model, found = trained.Trained.load(workdir), {}
  label = _clips(model.cfg, workdir, 'test')['label'][: model.cfg.evaluation.batch]
  for cell in filter(lambda cell: cell.whole, plan.cells(workdir.name)):
    draw(model, cell, label)
    times = []
    for _ in range(repeats):
      began = time.monotonic()
      draw(model, cell, label)
      times.append((time.monotonic() - began) / len(label))
    found[cell.name] = min(times)
  path = workdir.parent / 'cells' / f'{workdir.name}.seconds'
  path.write_text(json.dumps({'batch': len(label), 'seconds_per_clip': found}))


def draw(model, cell, label, frames=0):
  """uint8 clips, one for each label; the last batch is filled up, so that nothing compiles anew."""
  size, tau, seed = model.cfg.evaluation.batch, model.cfg.hybrid.tau, model.cfg.seed
  drawn = []
  for first in range(0, len(label), size):
    rows = np.arange(first, first + size) % len(label)
    options = {'first': first, 'steps': cell.steps, 'tau': tau, 'frames': frames}
    drawn.append(model.draw(cell.method, label[rows], seed, **options))
  return np.concatenate(drawn)[: len(label)]


def _keep(cells, name, weights, row, make, groups=None, **facts):
  """What is measured of the clips that `make()` gives, a row a clip, and a few to look at."""
  rows, path = cells / f'{row}.npz', cells / f'{row}.json'
  kept = dict(np.load(rows)) if path.exists() else {}
  missing = [measure for measure in (*MEASURES, *STEADY[name]) if measure not in kept]
  if not missing:
    return
  video = make()
  if not kept:
    groups = np.arange(len(video)) if groups is None else groups
    kept = {'shown': video[:SHOWN], 'groups': groups}
  elif np.array_equal(kept['shown'], video[:SHOWN]):
    facts = json.loads(path.read_text())
  else:
    raise ValueError(f'{rows}: its clips come out otherwise now; delete it and {path.name}')
  load = lambda network: networks.load(network, weights)
  for measure in missing:
    began = time.monotonic()
    kept[measure] = rows_of(measures.make(measure, load), video)
    facts[f'seconds_{measure}'] = round(time.monotonic() - began, 2)
  part = rows.with_suffix('.part')
  with part.open('wb') as file:
    np.savez(file, **kept)
  part.replace(rows)
  path.write_text(json.dumps(facts | {'clips': len(video)}))
  print(row, facts, flush=True)


def rows_of(measure, video, size=256):
  """What is measured of every clip, so many at a time."""
  parts = [measure.rows(video[i : i + size]) for i in range(0, len(video), size)]
  return np.concatenate(parts)[:, 0]


def _clips(cfg, workdir, split):
  """Clips of a split; those of one `group` are of one file, and not independent."""
  source = clip_sources.of(cfg, split, workdir)
  found = input_pipeline.fixed(source, cfg.evaluation.clips)
  file_of = getattr(source, 'file_of', lambda i: i)
  return found | {'group': np.array([file_of(i) for i in found['id']])}
