"""What of a run is taken away as weights, and what is said of it."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from hgdt_jax import donors, handed_on, settings, sharding, weights
from hgdt_jax import workdir as workdirs
from hgdt_jax.lending import Lending


def of_run(
  workdir: str | os.PathLike, stages: Collection[str] = (), *, data: str = '', licence: str = ''
) -> weights.Weights:
  """The networks that the methods of a run draw with, as they sample: moving averages.

  Not those that only train: critics, and optimisers with what they remember.

  Args:
    stages: those whose networks are wanted; () for all that a method draws with.
    data: what it was trained on, in a line; '' for what the configuration says.
    licence: that of the weights; '' for not stated.

  Raises:
    FileNotFoundError: there is no run.
    ValueError: it has not come to an end, or none of the stages has anything to draw with.
    OSError: a checkpoint is damaged.
  """
  run = donors.Run(pathlib.Path(workdir))
  cfg, lending = run.cfg, Lending(run.cfg, run.lent)
  if unknown := [stage for stage in stages if stage not in run.lent]:
    raise ValueError(f'{run.where}: stage {unknown[0]} is not done; done: {", ".join(run.lent)}')
  wanted = {}
  for method in lending.methods:
    for network, stage in lending.sources(lending.way(method)).items():
      if not stages or stage in stages:
        wanted.setdefault(stage, set()).add(network)
  if not wanted:
    raise ValueError(f'{run.where}: no method draws with stages {", ".join(stages) or "done"}')
  mesh = sharding.fitting_mesh(1, 1)
  nets = {}
  for stage, names in wanted.items():
    nets[stage] = run.networks(stage, sorted(names), mesh)
    if 'denoiser' in names and not run.has_late(stage):
      nets[stage]['denoiser'] = handed_on.without_late(cfg, nets[stage]['denoiser'])
  return weights.Weights(_without_paths(cfg), nets, _about(run, wanted, data, licence))


def _without_paths(cfg: settings.Config) -> settings.Config:
  """Where clips and other runs lie is nobody else's business."""
  data = dataclasses.replace(cfg.data, path='', labels='', workers=0)
  evaluation = dataclasses.replace(cfg.evaluation, weights='')
  return dataclasses.replace(cfg, init_from=(), data=data, evaluation=evaluation)


def _about(run: donors.Run, stages, data, licence) -> Mapping[str, Any]:
  """What is known of it, as JSON."""
  path = run.workdir / 'results.json'
  rows = json.loads(path.read_text(encoding='utf-8'))['results'] if path.exists() else []
  return {
    'versions': workdirs.versions_of(run.workdir),
    'steps': {stage: workdirs.last_step(run.workdir, stage) for stage in stages},
    'began_from': [pathlib.PurePath(entry).name for entry in run.cfg.init_from],
    'data': data or run.cfg.data.source,
    'licence': licence or 'not stated',
    'results': rows,
  }
