"""Stages that begin with networks trained elsewhere: `config.init_from`."""

import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax

from hgdt_jax import donors, handed_on, processes, settings
from hgdt_jax import methods as ways
from hgdt_jax import workdir as workdirs
from hgdt_jax.state import Net


class Gift(NamedTuple):
  """Networks that one stage elsewhere handed on, for a stage here."""

  donor: donors.Donor
  stage: str
  names: tuple[str, ...]

  def networks(self, mesh: jax.sharding.Mesh) -> dict[str, Net]:
    """The denoiser without its late parameters, if no stage has trained them there yet.

    They are as they began, and of the size of that run's latents: without them one denoiser serves
    the drafts of all families.
    """
    return self._learnt(self.donor.networks(self.stage, self.names, mesh))

  def shapes(self, mesh: jax.sharding.Mesh) -> dict[str, Net]:
    """Of `networks`; nothing is read."""
    nets = handed_on.of_state(handed_on.abstract_state(self.donor.cfg, self.stage, mesh))
    return self._learnt({name: nets[name] for name in self.names})

  def _learnt(self, nets):
    if 'denoiser' not in nets or self.donor.has_late(self.stage):
      return nets
    return nets | {'denoiser': handed_on.without_late(self.donor.cfg, nets['denoiser'])}


def networks(cfg: settings.Config, stage: str, mesh: jax.sharding.Mesh) -> dict[str, Net]:
  """Those that a stage is given, by name; none where nothing is to be."""
  found = {}
  for gift in _gifts(cfg, stage, mesh, {}):
    found |= gift.networks(mesh)
  return found


def find(cfg: settings.Config, workdir: pathlib.Path) -> None:
  """That what stages not begun in `workdir` are to begin with is there.

  Raises:
    ValueError: it is not, or damaged.
  """
  known = {}
  for stage in cfg.stages:
    if not workdirs.last_step(workdir, stage):
      named = settings.donor_of(stage, cfg.init_from)
      for source in [named[0]] if named else settings.donors_of_all(cfg.init_from):
        _found(cfg, source, known)


def check(cfg: settings.Config, mesh: jax.sharding.Mesh, workdir: pathlib.Path) -> None:
  """That those of stages not begun in `workdir` are there and fit; nothing is read but shapes.

  Raises:
    ValueError: there is no such workdir or file, the stage of it is not done, or its networks
      have other parameters; names them.
  """
  known = {}
  for stage in cfg.stages:
    if workdirs.last_step(workdir, stage):
      continue
    own = handed_on.of_state(handed_on.abstract_state(cfg, stage, mesh))
    given = set()
    for gift in _gifts(cfg, stage, mesh, known):
      where, nets = f'config.init_from: {gift.donor.where}, stage {gift.stage}', gift.shapes(mesh)
      if not nets:
        others = ', '.join(gift.donor.lent[gift.stage])
        raise ValueError(f'{where}: has {others}, and stage {stage} {", ".join(own)}')
      for name, net in nets.items():
        whole = jax.eval_shape(functools.partial(handed_on.completed, cfg), net, own[name])
        if misfit := handed_on.misfit(whole, own[name]):
          raise ValueError(f'{where}: its {name} does not fit: {misfit}')
        if processes.is_first() and handed_on.has_other_labels(net, own[name]):
          print(f'{where}: its {name} is of other classes; here those begin anew', flush=True)
      given |= nets.keys()
    if lacking := [name for name in cfg.lacks(stage) if name in own and name not in given]:
      raise ValueError(
        f'config.init_from={cfg.init_from}: stage {stage} takes the {lacking[0]} over, and nothing '
        'there has it'
      )


def _found(cfg, source, known):
  """The donor of that name; what is `known` is not read again."""
  try:
    if source not in known:
      known[source] = donors.find(source)
  except (FileNotFoundError, ValueError) as error:
    raise ValueError(f'config.init_from={cfg.init_from}: {error}') from error
  return known[source]


def _gifts(cfg, stage, mesh, known) -> Iterator[Gift]:
  """What another run gives the stage; without names where it has nothing that this one wants."""
  own = handed_on.abstract_state(cfg, stage, mesh).nets
  if found := settings.donor_of(stage, cfg.init_from):
    source, other = found
    donor = _found(cfg, source, known)
    if other not in donor.lent:
      where = f'config.init_from: {donor.where}, stage {other}'
      there = donor.cfg.stages
      what = 'is not done' if other in there else f'has the stages {", ".join(there)}'
      raise ValueError(f'{where}: {what}')
    yield Gift(donor, other, tuple(name for name in own if name in donor.lent[other]))
    return
  # Not what a stage has for itself: the critic of fewstep is none of the draft's.
  wanted = [n for n in own if n in cfg.networks_of(stage) and n not in cfg.starts_from(stage)]
  for source in settings.donors_of_all(cfg.init_from):
    donor, of_stage = _found(cfg, source, known), {}
    for name in wanted:
      if lender := _last(donor, name):
        of_stage.setdefault(lender, []).append(name)
    yield from (Gift(donor, lender, tuple(names)) for lender, names in of_stage.items())


def _last(donor, network):
  """The stage that a network is of at the end of what the hybrid draws with; None: there is none.

  Of stages that only took it over, whatever trained it has it too, or is not in the file.
  """
  stages = [s for s in ways.METHODS['hybrid'].draws_from if s in donor.cfg.stages]
  return next((s for s in reversed(stages) if network in donor.lent.get(s, ())), None)
