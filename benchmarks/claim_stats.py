"""From what was measured of every clip to scores with intervals and differences; for `claim.py`."""

import concurrent.futures
import json
import os
import pathlib

import claim_plan as plan
import numpy as np

from hgdt_jax.metrics import paired, resampling, table

OF_SETS = ('fvd', 'kvd', 'sliced_wasserstein', 'recall', 'coverage', 'frechet_random_conv3d')
DRIFTS = (
  *('drift_shape', 'drift_scale', 'drift_colour', 'flicker_background'),
  *('motion_object', 'jitter_object'),
)
ALWAYS = (*OF_SETS, 'motion_ratio', 'acd_colour')
RESAMPLED = {'kvd': 300, 'sliced_wasserstein': 30, 'fvd': 60}  # others of sets have no interval
DIFFER = {'kvd': 300, 'fvd': 60}


def stats(out: pathlib.Path, name: str, seeds) -> dict:
  """`{seed: {'rows': ..., 'pairs': ..., 'smallest': ...}}` of a set; kept in `stats.json`."""
  jobs = []
  for seed in seeds:
    cells = out / name / f'seed{seed}' / 'cells'
    rows = sorted(p.stem for p in cells.glob('*.npz') if p.with_suffix('.json').exists())
    jobs += [(_row, cells, row) for row in rows]
    jobs += [(_pair, cells, pair) for pair in plan.pairs(rows)]
    jobs += [(_smallest, cells, 'smallest')] if 'real' in rows else []
  with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
    found = list(pool.map(_do, jobs))
  result = {str(seed): {'rows': {}, 'pairs': {}, 'smallest': {}} for seed in seeds}
  kinds = {_row: 'rows', _pair: 'pairs', _smallest: 'smallest'}
  for (make, cells, what), value in zip(jobs, found):
    seed = cells.parent.name.removeprefix('seed')
    key = what if isinstance(what, str) else ' - '.join(what)
    result[seed][kinds[make]][key] = value
  (out / name / 'stats.json').write_text(json.dumps(result, indent=1))
  return result


def _do(job):
  make, cells, what = job
  return make(cells, what)


def _row(cells, row):
  """Facts and scores of a row: `{metric: [value, low, high]}`, or `[value]` without an interval."""
  window = f'long.real.{row.rpartition(".")[2]}'  # long clips are compared with long ones
  reference = window if row.startswith('long.') else 'real'
  real, rows = _load(cells, reference), _load(cells, row)
  scores = {}
  for metric in _metrics(rows):
    one = table.find(metric)
    mine, theirs = rows[one.measure], real[one.measure]
    try:
      value = one.value(theirs, mine)
    except ValueError:
      continue
    scores[metric] = [value]
    if metric in RESAMPLED and row != reference:
      draws = resampling.draw([real['groups'], rows['groups']], RESAMPLED[metric], seed=0)
      resampled = one.resample(theirs, [mine], draws)[0]
      scores[metric] += resampling.centred_interval(resampled, value)
    elif not one.of_both:
      spread = 1.96 * np.nanstd(_column(metric, mine)) / np.sqrt(len(mine))
      scores[metric] += [value - spread, value + spread]
  return json.loads((cells / f'{row}.json').read_text()) | {'scores': scores}


def _pair(cells, pair):
  """Of two rows, the first less the second, clip i of both of one code: as `_row`."""
  real = _load(cells, 'real')
  first, second = (_load(cells, row) for row in pair)
  found = {}
  for metric in _metrics(first):
    one = table.find(metric)
    a, b = first[one.measure], second[one.measure]
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


def _smallest(cells, _):
  """The smallest difference between two methods that so many clips tell apart, by metric."""
  real, pool = _load(cells, 'real'), _load(cells, 'hybrid.hybrid.3')
  found = {}
  for metric in ('fvd', 'kvd'):
    measure = table.find(metric).measure
    for share in (2, 4, 16):
      count = len(real[measure]) // share
      splits = {'kvd': 50, 'fvd': 20}[metric]
      found[f'{metric} {count}'] = paired.smallest_difference(
        metric, real[measure], (count, count), pool[measure], splits
      )
  return found


def _column(metric, rows):
  """The value of each clip of a metric that is their mean: `[N]`."""
  one = table.find(metric)
  return np.array([one.statistic(None, row[None]) for row in rows])


def _metrics(rows):
  return [m for m in (*ALWAYS, *DRIFTS) if table.find(m).measure in rows]


def _load(cells, row):
  with np.load(cells / f'{row}.npz') as file:
    return {name: file[name] for name in file.files}
