"""What a workdir holds, read for the report. Any part of it may be missing."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from hgdt_jax import writer


@dataclasses.dataclass(frozen=True)
class Contents:
  """A workdir.

  Attributes:
    workdir: the directory itself.
    config: the resolved config.
    environment: versions, device and the like, from results.json and config.json.
    rows: rows of metrics.jsonl by stage, in order of step.
    results: the scores of each method, as in results.json.
    curves: score against tau and network evaluations, as in results.json.
    samples: the folder of each method that has samples.
  """

  workdir: pathlib.Path
  config: Mapping[str, Any]
  environment: Mapping[str, Any]
  rows: Mapping[str, list[dict[str, Any]]]
  results: list[Mapping[str, Any]]
  curves: Mapping[str, list[Mapping[str, Any]]]
  samples: Mapping[str, pathlib.Path]

  @property
  def stages(self) -> list[str]:
    """Stages of the config, and those with rows that it does not name."""
    named = [str(stage) for stage in self.config.get('stages') or ()]
    return named + [stage for stage in self.rows if stage not in named]

  def steps(self, stage: str) -> tuple[int, int | None]:
    """Steps done (as far as logged), and steps asked for where the config says so."""
    rows = self.rows.get(stage)
    section = self.config.get(stage)
    wanted = section.get('steps') if isinstance(section, Mapping) else None
    return (rows[-1]['step'] if rows else 0), wanted

  def setting(self, path: str) -> Any:
    """The value at `a.b` in the config, or None."""
    value: Any = self.config
    for part in path.split('.'):
      value = value.get(part) if isinstance(value, Mapping) else None
    return value


def read(workdir: str | os.PathLike) -> Contents:
  """Reads what is there.

  config.json is either the config itself or `{"config": ..., "versions": ..., ...}`.

  Raises:
    FileNotFoundError: there is no such directory.
    ValueError: a JSON file cannot be read.
  """
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f'{workdir}: no such directory; give the --workdir of a run')
  around = dict(_json(workdir / 'config.json'))
  config = around.pop('config', None)
  if not isinstance(config, Mapping):
    config, around = around, {k: around.pop(k) for k in ('versions',) if k in around}
  results = _json(workdir / 'results.json')
  rows: dict[str, list[dict[str, Any]]] = {}
  for row in writer.read_rows(workdir):
    rows.setdefault(row['stage'], []).append(row)
  samples = sorted(workdir.glob('samples/*/'))
  return Contents(
    workdir=workdir,
    config=config,
    environment=around | dict(results.get('environment') or {}),
    rows=rows,
    results=list(results.get('results') or ()),
    curves=dict(results.get('curves') or {}),
    samples={path.name: path for path in samples if not path.name.startswith('.')},
  )


def _json(path: pathlib.Path) -> Mapping[str, Any]:
  if not path.exists():
    return {}
  try:
    document = json.loads(path.read_text(encoding='utf-8'))
  except json.JSONDecodeError as error:
    raise ValueError(f'{path}: not valid JSON ({error}); remove it or run again') from error
  if not isinstance(document, Mapping):
    raise ValueError(f'{path}: holds a {type(document).__name__}, not an object')
  return document
