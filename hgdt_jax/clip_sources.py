"""The clips of a configuration."""

import dataclasses
import pathlib
from typing import Any

import input_pipeline
from hgdt_jax import processes, settings
from input_pipeline.census import of_sources as census_of


def of(cfg: settings.Config, split: str, workdir: pathlib.Path):
  """The clips of a configuration; files that cannot be read are listed in `workdir`."""
  data = cfg.data
  given = {
    'count': data.clips,
    'stride': data.stride,
    'fps': data.target_fps,
    'windows': data.windows,
    'short': data.short,
    'max_bad': data.max_bad,
    'rejected_csv': str(workdir / 'rejected.csv') if processes.is_first() else '',
    'test_share': data.test_share,
    'labels': data.labels,
    'npy_order': data.npy_order,
  }
  takes = input_pipeline.SOURCES[data.source].options
  return input_pipeline.make_source(
    data.source,
    path=data.path,
    frames=data.frames,
    size=data.size,
    split=split,
    seed=cfg.seed,
    **{name: value for name, value in given.items() if name in takes},
  )


def held_out(cfg: settings.Config, sources):
  """Clips that scores are of, in one piece; `sources` by split."""
  return input_pipeline.fixed(sources['test'], cfg.evaluation.clips)


def with_classes(cfg: settings.Config, source) -> settings.Config:
  """The configuration with the number of classes that the source has."""
  found = len(source.classes) if len(source.classes) > 1 else 0
  asked = cfg.data.classes
  if asked == -1 and getattr(source, 'are_ids', False):
    found = 0  # a class a clip teaches nothing, unless it is asked for by number
  if asked > 0 and asked < found:
    raise ValueError(
      f'config.data.classes={asked}: the source has {found}: {", ".join(source.classes)}; '
      'use -1 for all of them, or 0 to train without'
    )
  if asked > found and processes.is_first():
    print(f'config.data.classes={asked}: the source has {found}; the others are never seen')
  classes = found if asked == -1 else asked
  return dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, classes=classes))


def with_timing(cfg: settings.Config, source) -> settings.Config:
  """The configuration with the stride or rate that a prepared set was made at, if it says."""
  if not hasattr(source, 'prepared_from'):
    return cfg
  stride, fps = source.timing['stride'], source.timing['fps']
  if stride:
    timing = {'stride': stride, 'target_fps': 0.0}
  elif fps:
    timing = {'stride': 1, 'target_fps': float(fps)}
  else:
    return cfg
  return dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, **timing))


def census(sources) -> dict[str, Any]:
  """What the clips were taken for, for config.json, told on the terminal; `sources` by split."""
  told = census_of(sources.values())
  record = told.record if told else getattr(sources['train'], 'prepared_from', {})
  if record and processes.is_first():
    print(told or _prepared(record), flush=True)
  return record


def _prepared(record):
  about = ('folder', 'files', 'clips', 'split_rule')
  folder, files, clips, rule = (record.get(name, 'not told') for name in about)
  return f'prepared from the folder {folder}: {files} files, {clips} clips; {rule}'


def say_rejected(sources, workdir):
  """Says on the terminal how many files could not be used."""
  rejected = {path for source in sources.values() for path, _ in getattr(source, 'rejected', ())}
  if rejected and processes.is_first():
    print(f'{len(rejected)} files left out; reasons in {workdir / "rejected.csv"}')
