"""Which stage lends each network that a method draws with."""

import pathlib
from collections.abc import Collection, Mapping

from hgdt_jax import methods as ways
from hgdt_jax import settings
from hgdt_jax import workdir as workdirs
from hgdt_jax.methods import Method
from hgdt_jax.stages import STAGES


class Lending:
  """Of a configuration whose stages are done, or so far they are.

  Attributes:
    cfg: the configuration.
    lent: the stages that are done, and the networks that each hands on; read at each call.
  """

  def __init__(self, cfg: settings.Config, lent: Mapping[str, Collection[str]]):
    self.cfg, self.lent = cfg, lent

  def way(self, method: str) -> Method:
    """As it is drawn here: with the latents that the denoiser learnt with."""
    told = self.cfg.aligner.latents if self.cfg.bridges else 'none'
    return ways.find(method).as_trained(told)

  @property
  def methods(self) -> tuple[str, ...]:
    """The ways to sample that the stages so far allow."""
    return tuple(name for name in ways.METHODS if not self.lacks(self.way(name)))

  def sources(self, way: Method) -> dict[str, str]:
    """The stage that each network of a method is of: the last that trained it."""
    found = {name: self.lender(name, way) for name in way.networks}
    if self.cfg.space.learns:
      found['autoencoder'] = self.autoencoder
    return {name: stage for name, stage in found.items() if stage}

  @property
  def autoencoder(self) -> str | None:
    """The stage that lends it, for all methods: whichever has it, it is the same one."""
    return next((s for s in self.cfg.stages if 'autoencoder' in self.lent.get(s, ())), None)

  def lender(self, network: str, way: Method) -> str | None:
    """The last stage that trained a network, of those a method draws from; None where none did."""
    if network == 'bridge' and not self.cfg.bridges:
      return None
    stages = (s for s in self.cfg.stages if s in way.draws_from)
    lenders = [s for s in stages if network in STAGES[s].trains and network in self.lent.get(s, ())]
    return lenders[-1] if lenders else None

  def lacks(self, way: Method) -> list[str]:
    """What there would have to be to draw by this method."""
    networks = way.networks + ('autoencoder',) * self.cfg.space.learns
    networks_of = [name for name in networks if name not in self.sources(way)]
    return [*networks_of, *(stage for stage in way.needs if stage not in self.lent)]

  def reads_drafts(self, way: Method) -> bool:
    """Whether latents are the bridge's guess from the clean draft."""
    return way.latents == 'bridge' and self.cfg.aligner.latents == 'clean'

  def generates(self, way: Method) -> bool:
    """Whether it runs the generator, which costs a network evaluation."""
    return way.drafted or way.latents == 'gan' or self.reads_drafts(way)

  def needs_image(self, way: Method) -> bool:
    """Whether it drafts with a generator that has only learnt to continue first frames."""
    return self.generates(way) and self.cfg.draft.given == 1

  def is_aligned(self, way: Method) -> bool:
    """Whether its denoiser has been through stage `aligner`: else latents mean nothing to it."""
    since = self.cfg.stages[self.cfg.stages.index('aligner') :] if self.cfg.aligns else ()
    return self.lender('denoiser', way) in since

  def say_what_is_not_done(self, method: str, workdir: pathlib.Path) -> None:
    """A line for each stage that a method would draw with; ValueError for one that it needs."""
    way = self.way(method)
    for stage in way.draws_from:
      if stage not in self.cfg.stages or stage in self.lent:
        continue
      trains = [network for network in way.networks if network in STAGES[stage].trains]
      lenders = [self.lender(network, way) for network in trains]
      at = f'{workdirs.last_step(workdir, stage)} of {getattr(self.cfg, stage).steps}'
      if None in lenders or stage in way.needs:
        others = ', '.join(self.methods)
        raise ValueError(
          f'{method} needs stage {stage}, whose last saved step is {at}; it counts when it is done'
          + (f'. Until then {others} can be drawn' if others else '')
        )
      earlier = self.cfg.stages[: self.cfg.stages.index(stage)]
      if any(lender in earlier for lender in lenders):
        print(
          f'stage {stage} is not done (step {at}): drawn with what the stages before it trained'
        )
