"""Which stage lends each network that a method draws with."""

from collections.abc import Collection

from hgdt_jax import config
from hgdt_jax import methods as ways
from hgdt_jax.methods import Method
from hgdt_jax.stages import STAGES


class Lending:
  """Of a configuration whose stages are done, or so far they are.

  Attributes:
    cfg: the configuration.
    done: the stages that hand on networks; read at each call.
  """

  def __init__(self, cfg: config.Config, done: Collection[str]):
    self.cfg, self.done = cfg, done

  def way(self, method: str) -> Method:
    """As it is drawn here: with the latents that the denoiser learnt with."""
    told = self.cfg.aligner.latents if self.cfg.bridges else 'none'
    return ways.find(method).as_trained(told)

  def sources(self, way: Method) -> dict[str, str]:
    """The stage that each network of a method is of: the last that trained it."""
    found = {name: self.lender(name, way) for name in way.networks}
    return {name: stage for name, stage in found.items() if stage}

  def lender(self, network: str, way: Method) -> str | None:
    """The last stage that trained a network, of those a method draws from; None where none did."""
    if network == 'bridge' and not self.cfg.bridges:
      return None
    stages = (s for s in self.cfg.stages if s in way.draws_from and s in self.done)
    lenders = [s for s in stages if network in STAGES[s].trains]
    return lenders[-1] if lenders else None

  def lacks(self, way: Method) -> list[str]:
    """What there would have to be to draw by this method."""
    networks_of = [name for name in way.networks if name not in self.sources(way)]
    return [*networks_of, *(stage for stage in way.needs if stage not in self.done)]

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
