"""Scores two folders of clips, writes the scores and prints them."""

import dataclasses
import json
import math
import pathlib
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import av
import jax
import numpy as np
import tqdm

from hgdt_jax import atomic, clip_sides, machine, pairing
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import Folders
from hgdt_jax.metrics import measures, score, statistics_cache
from hgdt_jax.metrics import table as table_of_metrics

_SAID = {'undefined': 'undefined: ', 'no_interval': 'no interval: ', 'warning': ''}
_LARGE = 1000.0  # from here on four digits leave no place after the point
_ROUNDING = 1e-10  # what is left of equal sets
_OF_A_RUN = 'curves'  # what results.json of a run has, and that of `evaluate` has not


@dataclasses.dataclass
class Result:
  """What came of scoring two folders; filled as it comes.

  Attributes:
    scores: by name.
    dropped: the files left out as (path, reason).
    notes: what a person has to know of how the folders were read, a line each.
    clips: what the folders were taken for, by side.
  """

  scores: dict[str, score.Score] = dataclasses.field(default_factory=dict)
  dropped: list[tuple[pathlib.Path, str]] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  clips: dict[str, Any] = dataclasses.field(default_factory=dict)


def score_folders(
  real: pathlib.Path,
  fake: pathlib.Path,
  names: Sequence[str],
  cut: Cut,
  weights_dir: pathlib.Path | None = None,
  uncertainty: score.Uncertainty = score.VALUES_ONLY,
  cache: pathlib.Path | None = None,
  batch: int = 16,
  split: str = '',
  result: Result | None = None,
  say: Callable[[str], None] = lambda text: None,
  **facts,
) -> Result:
  """Scores every clip under `fake` against those under `real` by the metrics `names`.

  Of a folder `samples/METHOD` of a run, the clips in it. `split`: of the real folder, see
  `clip_sides.split`. `result` is filled as scores come, and returned. Before anything is measured,
  `say` is told what this runs on, and what the folders were taken for.

  Raises:
    FileNotFoundError: a folder, or the weights of a network, is missing.
    ValueError: no usable clips, or as `metrics.score.score_sets`.
  """
  result = Result() if result is None else result
  real, fake = clip_sides.split(clip_sides.samples(real), split), clip_sides.samples(fake)
  if len(mixed := clip_sides.splits(real)) > 1 and not split:
    result.notes.append(f'{real}: {" and ".join(mixed)} are scored together; --split takes one')
  if cache and cache.exists() and not cache.is_dir():
    raise ValueError(f'{cache}: no folder, and what is measured of real clips is kept there; move '
                     'it, or do without (--nocache)')  # fmt: skip
  facts |= {'split': split} if split else {}
  facts |= {'max_clips': cut.max_clips, 'drawn_by_seed': cut.seed} if cut.max_clips else {}
  folders = Folders(real, fake, cut, batch, **facts)
  say(machine.line())
  for side, census in zip(('real', 'fake'), folders.censuses):
    result.clips[side] = census.record
    say(str(census))
  _check_pairs(folders, names, result.notes)
  try:
    score.score_sets(
      folders.real,
      folders.fake,
      names,
      weights_dir,
      uncertainty,
      pairs=folders.pairs,
      cache=statistics_cache.Folder(cache) if cache else None,
      progress=_bar,
      found=result.scores,
    )
  finally:
    result.dropped += folders.left_out
  return result


def _check_pairs(folders, names, notes):
  """ValueError where a metric needs pairs and a file has none; a loud line where names do not."""
  paired = [name for name in names if measures.is_paired(table_of_metrics.find(name).measure)]
  if not paired:
    return
  if folders.pairs is None:
    alone = pairing.unmatched(folders.pairing)
    raise ValueError(
      f'{paired[0]} compares clip with clip: it needs as many real as generated ones, of the same '
      f'names; without a counterpart by {folders.pairing.rule}: {alone}'
    )
  if folders.pairing.rule == pairing.BY_ORDER:
    notes.append(
      f'WARNING: {", ".join(paired)}: no names of real and generated clips match; the i-th is '
      'compared with the i-th in natural order'
    )


def check_out(path: pathlib.Path, overwrite: bool) -> None:
  """ValueError or OSError where results cannot be written to `path`, or would replace a run's."""
  if path.is_dir():
    raise ValueError(f'--out={path}: a folder; name a file in it')
  there = next(folder for folder in path.absolute().parents if folder.exists())
  if not there.is_dir():
    raise ValueError(f'--out={path}: {there} is no folder')
  try:
    with tempfile.TemporaryFile(dir=there):
      pass
  except OSError as error:
    raise ValueError(f'--out={path}: cannot be written in {there} ({error.strerror})') from error
  if path.exists() and not overwrite and not _is_own(path):
    raise ValueError(
      f'--out={path}: there already, and not of an earlier evaluate (of a run, perhaps); name '
      'another file, or replace it with --overwrite'
    )


def _is_own(path):
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, OSError):
    return False
  return isinstance(content, dict) and 'results' in content and _OF_A_RUN not in content


def write_results(path: pathlib.Path, rows: Sequence[dict[str, Any]], **more) -> None:
  """Writes results.json whole or not at all; `rows` are from `protocol.results_row`.

  `more`: what else is to stand beside them.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  atomic.write_json(path, {'results': list(rows), 'environment': environment()} | more)


def environment() -> dict[str, Any]:
  """Versions and devices that numbers may depend on."""
  return {
    'python': platform.python_version(),
    'jax': jax.__version__,
    'numpy': np.__version__,
    'av': av.__version__,
    'devices': sorted({device.device_kind for device in jax.local_devices()}),
    'device_count': jax.local_device_count(),
  }


def table(scores: dict[str, score.Score]) -> str:
  """The scores for a person: value, interval, clips, protocol, then warnings."""
  rows = [('metric', 'value', '95% interval', 'real clips', 'real / fake', 'protocol')]
  for name, one in scores.items():
    stamp = one.stamp
    interval = ' .. '.join(map(number, stamp.get('interval', ())))
    reference = number(stamp['real_value']) if 'real_value' in stamp else ''
    counts = f'{stamp["clips_real"]} / {stamp["clips_fake"]}'
    rows.append((name, number(one.value), interval, reference, counts, _protocol_in_short(stamp)))
  widths = [max(map(len, column)) for column in zip(*rows)]
  shown = [i for i, column in enumerate(zip(*rows[1:])) if any(column)]
  lines = ['  '.join(row[i].ljust(widths[i]) for i in shown).rstrip() for row in rows]
  warnings = [
    f'{name}: {words}{one.stamp[key]}'
    for name, one in scores.items()
    for key, words in _SAID.items()
    if key in one.stamp
  ]
  return '\n'.join(lines + [''] * bool(warnings) + warnings)


def number(value: float) -> str:
  """Four significant digits, or all before the point."""
  if math.isnan(value):
    return 'undefined'
  if math.isinf(value) or abs(value) >= _LARGE:
    return f'{value:.0f}'
  return f'{value if abs(value) > _ROUNDING else 0.0:#.4g}'


def _protocol_in_short(stamp):
  resolution = stamp.get('resolution') or f'{stamp["resolution_real"]}|{stamp["resolution_fake"]}'
  rate = f'stride {stamp["stride"]}' if stamp.get('stride') else _rate(stamp)
  parts = [f'{stamp["frames"]} frames', rate, resolution]
  if 'network' in stamp:
    parts.append(f'{stamp["network"].split(",")[0]} {stamp["network_sha256"][:8]}')
  if 'ddof' in stamp:
    parts.append(f'ddof {stamp["ddof"]}')
  return ', '.join(parts)


def _rate(stamp):
  return f'{stamp.get("fps") or "{fps_real}|{fps_fake}".format(**stamp)} fps'


def _bar(batches, label, total):
  """A progress bar, on a terminal only."""
  with tqdm.tqdm(total=total, desc=label, unit='clip', disable=None, file=sys.stderr) as bar:
    for batch in batches:
      yield batch
      bar.update(len(batch[0] if isinstance(batch, tuple) else batch))
