"""What was run, in words: taken from the config, the environment, the rows and the results."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hgdt_jax.report import meanings, scores
from hgdt_jax.report.contents import Contents


def verdict(contents: Contents) -> str:
  """One sentence on how it went."""
  results = scores.in_order(contents.results)
  for metric in scores.metrics_of(results):
    if winners := scores.best(results, metric):
      result = results[winners[0]]
      value = scores.values(result)[metric.name]
      label = meanings.row(str(result.get('method'))).label
      cost = scores.number(result.get('network_evaluations'))
      spent = f' at {cost:g} network evaluation{"" if cost == 1 else "s"}' if cost else ''
      ratio = scores.values(result).get(meanings.MOTION_RATIO.name)
      moving = f' Its clips move {ratio:.2g} times as much as real ones.' if ratio else ''
      return f'Best by {metric.label}: {label} with {value:.4g}{spent}.{moving}'
  if contents.rows:
    stage = next(reversed(contents.rows))
    return f'Trained up to {stage}, step {contents.steps(stage)[0]:,}. Not scored yet.'
  return 'Nothing has been trained here yet.'


def warnings(contents: Contents) -> list[str]:
  """What a reader should know before anything else."""
  found = _unfinished(contents)
  for result in scores.in_order(contents.results):
    if scores.frozen(result) and result.get('method') != 'real':
      ratio = scores.values(result)[meanings.MOTION_RATIO.name]
      label = meanings.row(str(result.get('method'))).label
      found.append(f'{label} moves {ratio:.2g} times as much as real clips: nearly frozen.')
  return found


def facts(contents: Contents) -> list[tuple[str, str]]:
  """(label, value) pairs for the head of the page; those that are not known are left out."""
  get, environment = contents.setting, contents.environment
  trained = [f'{stage} {done:,}' for stage in contents.stages if (done := contents.steps(stage)[0])]
  found = {
    'Data': _joined(get('data.source'), get('data.path')),
    'Clips': _clip_shape(contents),
    'Batch': get('data.batch'),
    'Steps trained': ', '.join(trained),
    'Hybrid': _named(('tau', get('hybrid.tau')), ('steps', get('hybrid.steps'))),
    'Noise levels in training': _noise_levels(contents),
    'Precision': get('dtype'),
    'Seed': get('seed'),
    'Device': _device(environment),
    'Wall time': _duration(scores.number(environment.get('wall_seconds'))),
    'Versions': _named(*(environment.get('versions') or {}).items()),
  }
  return [(label, str(value)) for label, value in found.items() if value not in (None, '')]


def logged(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Names of the values in the rows of a stage, in order of appearance."""
  names = dict.fromkeys(name for row in rows for name in row)
  return [
    name
    for name in names
    if name not in ('stage', 'step')
    and all(isinstance(row.get(name, 0), (int, float)) for row in rows)
  ]


def headline(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """The values worth a look first: scores of held-out clips, losses, and motion, which belongs
  beside them; else all."""
  names = logged(rows)
  first = [name for name in names if 'held_out' in name or 'loss' in name or 'motion' in name]
  return sorted(first, key=lambda name: 'held_out' not in name) or names


def points(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
  """Steps and values of one name."""
  having = [row for row in rows if name in row]
  return np.array([row['step'] for row in having]), np.array([row[name] for row in having], float)


def protocols(results: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[str, str]]:
  """(methods, protocol) of a metric: methods that share a protocol are named together."""
  shared: dict[str, list[str]] = {}
  for result in results:
    stamp = (result.get('protocol') or {}).get(metric)
    if stamp:
      label = meanings.row(str(result.get('method'))).label
      shared.setdefault(_flat(stamp), []).append(label)
  return [(', '.join(methods), text) for text, methods in shared.items()]


def _unfinished(contents: Contents) -> list[str]:
  """Where training stands, if it has begun and nothing has been scored yet.

  The last step of a stage need not have been logged: it is over when another has begun.
  """
  if not contents.rows or contents.results:
    return []
  begun = list(contents.rows)
  ahead = [stage for stage in contents.stages if stage not in begun]
  done, wanted = contents.steps(begun[-1])
  found = []
  if isinstance(wanted, int) and done < wanted:
    found.append(f'{begun[-1]} is at step {done:,} of {wanted:,}.')
  if ahead:
    found.append(f'Not begun yet: {", ".join(ahead)}.')
  return found


def _flat(stamp: Any) -> str:
  if not isinstance(stamp, Mapping):
    return str(stamp)
  return ', '.join(
    f'{key} {value if isinstance(value, str) else json.dumps(value, default=str)}'
    for key, value in stamp.items()
  )


def _clip_shape(contents: Contents) -> str:
  frames, size = contents.setting('data.frames'), contents.setting('data.size')
  if not frames or not size:
    return ''
  height, width = size if isinstance(size, Sequence) and len(size) == 2 else (size, size)
  return f'{frames} frames of {height} × {width}'


def _noise_levels(contents: Contents) -> str:
  """From which law the noise levels of training were drawn, and its share of low noise."""
  law, share = contents.setting('diffusion.times'), contents.setting('diffusion.low_noise_share')
  if law == 'truncated' and scores.number(share) is not None:
    return f'{law}: {share:.0%} on [0, tau]'
  return str(law or '')


def _device(environment: Mapping[str, Any]) -> str:
  device, number = environment.get('device'), environment.get('devices')
  if isinstance(number, int) and number > 1 and device:
    return f'{number} x {device}'
  return str(device or '')


def _duration(seconds: float | None) -> str:
  if seconds is None:
    return ''
  minutes = round(seconds / 60)
  if minutes < 2:
    return f'{seconds:.0f} s'
  return f'{minutes // 60} h {minutes % 60} min' if minutes >= 60 else f'{minutes} min'


def _joined(*parts: Any) -> str:
  return ' '.join(str(part) for part in parts if part)


def _named(*pairs: tuple[str, Any]) -> str:
  return ', '.join(f'{name} {value}' for name, value in pairs if value not in (None, ''))
