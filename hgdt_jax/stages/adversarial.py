"""What the stages that play the adversarial game share: `gan`, `joint` and `fewstep`."""

from collections.abc import Callable, Mapping

import jax
import optax

from hgdt_jax import rng
from hgdt_jax.gans import game
from hgdt_jax.gans.types import GAN, Given
from hgdt_jax.stages import networks
from hgdt_jax.state import Net


def init(cfg, txs: Mapping, key: jax.Array) -> dict[str, Net]:
  """The generator and its judges."""
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  nets = {'generator': Net.create(generator, txs['generator'])}
  for name, judge in networks.make(cfg).gan.judges.items():
    variables = networks.init_judge(judge, rng.stream(key, name), cfg.clip)
    spectral = rng.stream(key, 'spectral')
    nets[name] = game.init_judge(judge, variables, txs[name], spectral, augmentation(cfg))
  return nets


def augmentation(cfg) -> game.Augmentation | None:
  """Of what judges see; none where `gan.augment` says so."""
  if cfg.gan.augment == 'none':
    return None
  target = cfg.gan.augment_target if cfg.gan.augment == 'adaptive' else None
  return game.Augmentation(cfg.gan.augment_probability, target)


def optimisers(
  gan: GAN, rate: float, judges_rate: float, warmup: int, steps: int
) -> dict[str, optax.GradientTransformation]:
  """The players'; only the generator warms up."""
  judges = {
    name: gan.optimiser(judges_rate * judge.rate, 0, steps) for name, judge in gan.judges.items()
  }
  return {'generator': gan.optimiser(rate, warmup, steps)} | judges


def first_frames(share: float, key: jax.Array, real: jax.Array) -> Given | None:
  """Of the real clips, for a share of the drafts to continue. Judges see the given frame in the
  draft, so its clip has to follow.
  """
  if not share:
    return None
  return Given(real[:, 0], jax.random.uniform(key, (len(real),)) < share)


def drafting(gan: GAN, generator: Net, label, given, key, frames: int) -> dict[str, Callable]:
  """How a generator in training draws, a draft a label; what `game.play` takes as `draw` and
  `again`."""

  def drawn(codes, who, params=None):
    options = {'train': True, 'rngs': game.rngs(key, who)}
    return generator.apply(gan.generator, codes, label, given, params=params, **options)

  codes = gan.codes(key('codes'), len(label), frames)

  def again(i):
    others = gan.codes(jax.random.fold_in(key('codes'), i), len(label), frames)
    return drawn(others, f'generator_{i}')[0].clip

  return {'draw': lambda params: drawn(codes, 'generator', params), 'again': again}
