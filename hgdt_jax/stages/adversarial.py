"""What the stages that play the adversarial game share: `gan`, `joint` and `fewstep`."""

from collections.abc import Callable, Mapping

import jax
import optax

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.gans import game
from hgdt_jax.gans.types import GAN, Given
from hgdt_jax.stages import networks
from hgdt_jax.state import Net


def init(cfg: Config, txs: Mapping, key: jax.Array) -> dict[str, Net]:
  """The generator and its judges."""
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  nets = {'generator': Net.create(generator, txs['generator'])}
  for name, judge in networks.make(cfg).gan.judges.items():
    variables = networks.init_judge(cfg, judge, rng.stream(key, name))
    spectral = rng.stream(key, 'spectral')
    nets[name] = game.init_judge(judge, variables, txs[name], spectral, augmentation(cfg))
  return nets


def augmentation(cfg: Config) -> game.Augmentation | None:
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


def draw(gan: GAN, generator: Net, label, given, key, frames: int) -> Callable:
  """Parameters of the generator -> (draft, what it keeps after that pass), one draft a label."""
  codes = gan.codes(key('codes'), len(label), frames)
  options = {'train': True, 'rngs': game.rngs(key, 'generator')}
  return lambda params: generator.apply(
    gan.generator, codes, label, given, params=params, **options
  )


def again(gan: GAN, generator: Net, label, given, key, frames: int) -> Callable:
  """`i` -> clips of other codes, for the judges' i-th further move."""

  def clips(i):
    codes = gan.codes(jax.random.fold_in(key('codes'), i), len(label), frames)
    options = {'train': True, 'rngs': game.rngs(key, f'generator_{i}')}
    return generator.apply(gan.generator, codes, label, given, **options)[0].clip

  return clips
