"""From what was measured of every clip to scores with intervals and differences; for `claim.py`."""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib

import claim_plan as plan
import numpy as np

from hgdt_jax.metrics import paired, resampling, table

OF_SETS = ('fvd', 'kvd', 'sliced_wasserstein', 'recall', 'coverage', 'frechet_random_conv3d')
STEADY = (  # a set has those of the probe, or those of whole frames
  *('drift_shape', 'drift_scale', 'drift_colour', 'flicker_background'),
  *('motion_object', 'jitter_object', 'acd_colour', 'acd_lpips'),
)
RESAMPLED = {'kvd': 500, 'fvd': 100}  # others of sets have no interval
BIASED = ('fvd', 'sliced_wasserstein', 'recall', 'coverage', 'frechet_random_conv3d')
DIFFER = {'kvd': 500, 'fvd': 100, 'frechet_random_conv3d': 100}


def stats(out: pathlib.Path, name: str, seeds) -> dict:
  """`{seed: {'rows': ..., 'pairs': ..., 'smallest': ...}}` of a set; kept in `stats.json`."""
  jobs = []
  for seed in seeds:
    cells = out / name / f'seed{seed}' / 'cells'
    rows = sorted(p.stem for p in cells.glob('*.npz') if p.with_name(p.stem + '.json').exists())
    if 'long.real.first' not in rows:  # nothing to compare long clips with, yet
      rows = [row for row in rows if not row.startswith('long.')]
    least = min(_count(cells, row) for row in rows if not row.startswith('long.'))
    jobs += [(_row, cells, row, least) for row in rows]
    jobs += [(_pair, cells, pair, least) for pair in plan.pairs(rows)]
    jobs += [(_smallest, cells, 'smallest', least)] if f'{plan.PAPER}.3' in rows else []
  anew = multiprocessing.get_context('spawn')  # jax has threads: no fork
  with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), anew) as pool:
    found = list(pool.map(_do, jobs))
  result = {str(seed): {'rows': {}, 'pairs': {}, 'smallest': {}, 'least': 0} for seed in seeds}
  kinds = {_row: 'rows', _pair: 'pairs', _smallest: 'smallest'}
  for (make, cells, what, least), value in zip(jobs, found):
    seed = cells.parent.name.removeprefix('seed')
    key = what if isinstance(what, str) else ' - '.join(what)
    result[seed][kinds[make]][key] = value
    result[seed]['least'] = least
  (out / name / 'stats.json').write_text(json.dumps(result, indent=1))
  return result


def _do(job):
  make, cells, what, least = job
  return make(cells, what, least)


def _row(cells, row, least):
  """Facts and scores of a row: `{metric: [value, low, high]}`, or `[value]` without an interval.

  What is biased by the number of clips is taken of the first `least`, as of every other row;
  `fvd_whole` is of all, where they are as many as the real ones.
  """
  window = f'long.real.{row.rpartition(".")[2]}'  # long clips are compared with long ones
  reference = window if row.startswith('long.') else 'real'
  real, rows = _load(cells, reference), _load(cells, row)
  scores = {}
  for metric in _metrics(rows):
    one = table.find(metric)
    mine, theirs = rows[one.measure], real[one.measure]
    if metric in BIASED:
      mine = mine[:least]
    try:
      value = one.value(theirs, mine)
    except ValueError:  # nothing moves, say
      continue
    scores[metric] = [value]
    if metric in RESAMPLED and row != reference:
      draws = resampling.draw([real['groups'], rows['groups'][: len(mine)]], RESAMPLED[metric], 0)
      resampled = one.resample(theirs, [mine], draws)[0]
      scores[metric] += resampling.centred_interval(resampled, value)
    elif not one.of_both:
      spread = 1.96 * np.nanstd(_column(metric, mine)) / np.sqrt(len(mine))
      scores[metric] += [value - spread, value + spread]
  if 'clip_i3d' in rows and len(rows['clip_i3d']) == len(real['clip_i3d']) and row != reference:
    scores['fvd_whole'] = [table.find('fvd').value(real['clip_i3d'], rows['clip_i3d'])]
  return json.loads((cells / f'{row}.json').read_text()) | {'scores': scores}


def _pair(cells, pair, least):
  """Of two rows, the first less the second, clip i of both of one code: as `_row`."""
  real = _load(cells, 'real')
  first, second = (_load(cells, row) for row in pair)
  found = {}
  for metric in _metrics(first):
    one = table.find(metric)
    if one.measure not in second:
      continue
    count = min(len(first[one.measure]), len(second[one.measure]))
    count = min(count, least) if metric in BIASED else count
    a, b = first[one.measure][:count], second[one.measure][:count]
    if metric in DIFFER:
      options = {'real_groups': real['groups'], 'count': DIFFER[metric]}
      differ = paired.difference(metric, real[one.measure], a, b, **options)
      found[metric] = [differ.value, differ.low, differ.high]
    elif not one.of_both:
      apart = _column(metric, a) - _column(metric, b)
      apart = apart[np.isfinite(apart)]
      spread = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
      found[metric] = [apart.mean(), apart.mean() - spread, apart.mean() + spread]
  return found


def _smallest(cells, _, least):
  """The smallest difference between two methods that so many clips tell apart, by metric."""
  real, pool = _load(cells, 'real')['clip_i3d'], _load(cells, f'{plan.PAPER}.3')['clip_i3d']
  found = {}
  for metric, splits in (('fvd', 20), ('kvd', 50)):
    for count in sorted({64, 256, 1024, least}):
      if 2 * count <= len(pool):
        counts = (len(real) // 2, count)
        value = paired.smallest_difference(metric, real, counts, pool, splits)
        found[f'{metric} {count}'] = value
  return found


def _count(cells, row):
  return json.loads((cells / f'{row}.json').read_text())['clips']


def _column(metric, rows):
  """The value of each clip of a metric that is their mean: `[N]`."""
  one = table.find(metric)
  return np.array([one.statistic(None, row[None]) for row in rows])


def _metrics(rows):
  return [m for m in (*OF_SETS, 'motion_ratio', *STEADY) if table.find(m).measure in rows]


def _load(cells, row):
  with np.load(cells / f'{row}.npz') as file:
    return {name: file[name] for name in file.files}
