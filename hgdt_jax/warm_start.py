"""Stages that begin where a stage of another run ended: `config.init_from`."""

import pathlib
from typing import NamedTuple

import jax

from hgdt_jax import handed_on, settings
from hgdt_jax import workdir as workdirs
from hgdt_jax.state import Net


class Donor(NamedTuple):
  """A finished stage of another run."""

  workdir: pathlib.Path
  stage: str
  cfg: settings.Config

  def learnt(self, nets: dict[str, Net]) -> dict[str, Net]:
    """The denoiser without its late parameters, if no stage has trained them there yet.

    They are as they began, and of the size of that run's latents: without them one denoiser serves
    the drafts of all families.
    """
    before = self.cfg.stages[: self.cfg.stages.index(self.stage) + 1]
    if 'denoiser' not in nets or 'aligner' in before or self.cfg.init_from:
      return nets
    return nets | {'denoiser': handed_on.without_late(self.cfg, nets['denoiser'])}


def networks(cfg: settings.Config, stage: str, mesh: jax.sharding.Mesh) -> dict[str, Net]:
  """Those that a stage is given, by name; none where nothing is to be."""
  donor = _donor(cfg, stage)
  if not donor:
    return {}
  names = _shared(cfg, stage, donor, mesh)
  return donor.learnt(handed_on.weights(donor.workdir, donor.cfg, donor.stage, mesh, names))


def check(cfg: settings.Config, mesh: jax.sharding.Mesh, workdir: pathlib.Path) -> None:
  """That those of stages not begun in `workdir` are there and fit; nothing is read but shapes.

  Raises:
    FileNotFoundError: there is no such workdir.
    ValueError: the stage of it is not done, or its networks have other parameters; names them.
  """
  for stage in cfg.stages:
    donor = None if workdirs.last_step(workdir, stage) else _donor(cfg, stage)
    if not donor:
      continue
    where = f'config.init_from: {donor.workdir}, stage {donor.stage}'
    if donor.stage not in donor.cfg.stages:
      raise ValueError(f'{where}: has the stages {", ".join(donor.cfg.stages)}')
    if not workdirs.is_done(donor.cfg, donor.workdir, donor.stage):
      raise ValueError(f'{where}: is not done')
    own = handed_on.of_state(handed_on.abstract_state(cfg, stage, mesh))
    others = handed_on.of_state(handed_on.abstract_state(donor.cfg, donor.stage, mesh))
    names = _shared(cfg, stage, donor, mesh)
    if not names:
      raise ValueError(f'{where}: has {", ".join(others)}, and stage {stage} {", ".join(own)}')
    given = donor.learnt(others)
    for name in names:
      if misfit := handed_on.misfit(handed_on.completed(cfg, given[name], own[name]), own[name]):
        raise ValueError(f'{where}: its {name} does not fit: {misfit}')


def _donor(cfg, stage):
  if not (found := settings.donor_of(stage, cfg.init_from)):
    return None
  workdir = pathlib.Path(found[0])
  return Donor(workdir, found[1], workdirs.read_config(workdir))


def _shared(cfg, stage, donor, mesh):
  """The names of the networks that both stages have."""
  own = handed_on.abstract_state(cfg, stage, mesh).nets
  return [n for n in handed_on.abstract_state(donor.cfg, donor.stage, mesh).nets if n in own]
