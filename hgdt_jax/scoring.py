"""Scores two folders of clips, writes the scores and prints them."""

import dataclasses
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import av
import jax
import numpy as np
import tqdm

from hgdt_jax import atomic
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import Folders
from hgdt_jax.metrics import score, statistics_cache


@dataclasses.dataclass(frozen=True)
class Result:
  """Scores by name, the files left out as (path, reason), and what the folders were taken for."""

  scores: dict[str, score.Score]
  dropped: list[tuple[pathlib.Path, str]]
  clips: dict[str, Any]


def score_folders(
  real: pathlib.Path,
  fake: pathlib.Path,
  names: Sequence[str],
  cut: Cut,
  weights_dir: pathlib.Path | None = None,
  uncertainty: score.Uncertainty = score.VALUES_ONLY,
  cache: pathlib.Path | None = None,
  batch: int = 16,
  say: Callable[[str], None] = lambda text: None,
  **facts,
) -> Result:
  """Scores every clip under `fake` against those under `real` by the metrics `names`.

  Before the first of them is measured, `say` is told what the folders were taken for.

  Raises:
    FileNotFoundError: a folder, or the weights of a network, is missing.
    ValueError: no usable clips, or as `metrics.score.score_sets`.
  """
  folders = Folders(real, fake, cut, batch, **facts)
  for census in folders.censuses:
    say(str(census))
  scores = score.score_sets(
    folders.real,
    folders.fake,
    names,
    weights_dir,
    uncertainty,
    pairs=folders.pairs,
    cache=statistics_cache.Folder(cache) if cache else None,
    progress=_bar,
  )
  clips = {name: one.record for name, one in zip(('real', 'fake'), folders.censuses)}
  return Result(scores, folders.left_out, clips)


def write_results(
  path: pathlib.Path, rows: Sequence[dict[str, Any]], clips: dict[str, Any] | None = None
) -> None:
  """Writes results.json whole or not at all.

  Args:
    path: of the file.
    rows: from `protocol.results_row`.
    clips: what the folders of clips were taken for, if they are to be told.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  told = {'clips': clips} if clips else {}
  atomic.write_json(path, {'results': list(rows)} | told | {'environment': environment()})


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
    interval = '{:.4f} .. {:.4f}'.format(*stamp['interval']) if 'interval' in stamp else ''
    reference = f'{stamp["real_value"]:.4f}' if 'real_value' in stamp else ''
    counts = f'{stamp["clips_real"]} / {stamp["clips_fake"]}'
    rows.append((name, f'{one.value:.4f}', interval, reference, counts, _protocol_in_short(stamp)))
  widths = [max(map(len, column)) for column in zip(*rows)]
  shown = [i for i, column in enumerate(zip(*rows[1:])) if any(column)]
  lines = ['  '.join(row[i].ljust(widths[i]) for i in shown).rstrip() for row in rows]
  warnings = [
    f'{name}: {one.stamp["warning"]}' for name, one in scores.items() if 'warning' in one.stamp
  ]
  return '\n'.join(lines + [''] * bool(warnings) + warnings)


def _protocol_in_short(stamp):
  resolution = stamp.get('resolution') or f'{stamp["resolution_real"]}|{stamp["resolution_fake"]}'
  parts = [f'{stamp["frames"]} frames', f'stride {stamp["stride"]}', resolution]
  if 'network' in stamp:
    parts.append(f'{stamp["network"].split(",")[0]} {stamp["network_sha256"][:8]}')
  if 'ddof' in stamp:
    parts.append(f'ddof {stamp["ddof"]}')
  return ', '.join(parts)


def _bar(batches, label, total):
  """A progress bar, on a terminal only."""
  with tqdm.tqdm(total=total, desc=label, unit='clip', disable=None, file=sys.stderr) as bar:
    for batch in batches:
      yield batch
      bar.update(len(batch[0] if isinstance(batch, tuple) else batch))
