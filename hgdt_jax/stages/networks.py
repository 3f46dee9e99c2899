"""The networks of a configuration, and how each is initialised."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgdt_jax import rng
from hgdt_jax.autoencoders import AUTOENCODERS
from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.gans import GANS
from hgdt_jax.gans.types import GAN, Given, Judge
from hgdt_jax.models.bridge import Bridge
from hgdt_jax.space import Space
from hgdt_jax.state import Net


class Networks(NamedTuple):
  gan: GAN
  autoencoder: nn.Module
  denoiser: nn.Module
  bridge: Bridge

  def encode(self, nets: Mapping[str, Net], clip: jax.Array) -> jax.Array:
    """Into the denoiser's space, by the autoencoder among `nets` if it is one that learns."""
    return self.autoencoder.apply(_variables(nets), clip, method='encode')

  def decode(self, nets: Mapping[str, Net], latent: jax.Array) -> jax.Array:
    return self.autoencoder.apply(_variables(nets), latent, method='decode')


def make(cfg) -> Networks:
  common = dict(classes=cfg.data.classes, dtype=jnp.dtype(cfg.dtype))
  latents = {'latent_size': cfg.draft.latent_size}
  channels = {'channels': cfg.latent.channels}
  return Networks(
    GANS[cfg.draft.name].make(cfg.draft, cfg.clip, **common),
    make_autoencoder(cfg),
    DENOISERS[cfg.denoiser.name].make(cfg.denoiser, **channels, **latents, **common),
    Bridge(**latents, **dataclasses.asdict(cfg.bridge), dtype=common['dtype']),
  )


def make_autoencoder(cfg) -> nn.Module:
  family = AUTOENCODERS[cfg.space.name]
  return family.make(cfg.space, channels=cfg.clip.channels, dtype=jnp.dtype(cfg.dtype))


# Each gives a module's variables.


def init_generator(cfg, key: jax.Array) -> dict[str, Any]:
  gan = make(cfg).gan
  init_key, code_key = jax.random.split(key)
  codes = gan.codes(code_key, 1, cfg.data.frames)
  given = Given(_zeros(cfg.clip)[:, 0], jnp.ones(1, bool)) if cfg.draft.given else None
  return gan.generator.init(init_key, codes, jnp.zeros(1, jnp.int32), given)


def init_judge(judge: Judge, key: jax.Array, space: Space, beside: int = 0) -> dict[str, Any]:
  """Of what it sees of a clip with so many channels beside its own."""
  clip = _zeros(space)
  given = Given(clip[:, 0], jnp.ones(1, bool))
  clip = _zeros(space._replace(channels=space.channels + beside))
  view = judge.see(lambda name: jax.random.key(0), 'real', clip, given)
  return judge.network.init(key, view, jnp.zeros(1), jnp.zeros(1, jnp.int32))


def init_autoencoder(cfg, key: jax.Array) -> dict[str, Any]:
  through = lambda module, clip: module.decode(module.encode(clip))
  return make_autoencoder(cfg).init(key, _zeros(cfg.clip), method=through)


def init_denoiser(cfg, key: jax.Array) -> dict[str, Any]:
  """With the aligner in it, which stages that do not train it leave out of their programs."""
  condition = Condition.plain(jnp.zeros(1, jnp.int32), cfg.data.frames, cfg.draft.latent_size)
  condition = condition.replace(align=jnp.ones(1))
  return make(cfg).denoiser.init(key, _zeros(cfg.latent), jnp.zeros(1), condition, jnp.ones(1))


def init_bridge(cfg, key: jax.Array) -> dict[str, Any]:
  return make(cfg).bridge.init(key, _zeros(cfg.latent), jnp.zeros(1))


def frozen_autoencoder(cfg, key: jax.Array) -> dict[str, Net]:
  """By name, for stages that work in its space; none of one that does not learn."""
  if not cfg.space.learns:
    return {}
  return {'autoencoder': Net.of(init_autoencoder(cfg, rng.stream(key, 'autoencoder')))}


def _variables(nets):
  return nets['autoencoder'].variables() if 'autoencoder' in nets else {}


def _zeros(space):
  return jnp.zeros((1, space.frames, space.size, space.size, space.channels))
