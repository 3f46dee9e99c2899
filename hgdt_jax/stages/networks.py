"""The networks of a configuration, and how each is initialised."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.gans import GANS
from hgdt_jax.gans.types import GAN, Clip, Given, Judge
from hgdt_jax.models.bridge import Bridge

CHANNELS = 3


class Networks(NamedTuple):
  gan: GAN
  denoiser: nn.Module
  bridge: Bridge


def make(cfg) -> Networks:
  common = dict(classes=cfg.data.classes, dtype=jnp.dtype(cfg.dtype))
  latents = {'latent_size': cfg.draft.latent_size}
  return Networks(
    GANS[cfg.draft.name].make(cfg.draft, clip_of(cfg), **common),
    DENOISERS[cfg.denoiser.name].make(cfg.denoiser, channels=CHANNELS, **latents, **common),
    Bridge(**latents, **dataclasses.asdict(cfg.bridge), dtype=common['dtype']),
  )


def clip_of(cfg) -> Clip:
  return Clip(cfg.data.frames, cfg.data.size, CHANNELS)


# Each gives a module's variables.


def init_generator(cfg, key: jax.Array) -> dict[str, Any]:
  gan = make(cfg).gan
  init_key, code_key = jax.random.split(key)
  codes = gan.codes(code_key, 1, cfg.data.frames)
  given = Given(_clip(cfg)[:, 0], jnp.ones(1, bool)) if cfg.draft.given else None
  return gan.generator.init(init_key, codes, jnp.zeros(1, jnp.int32), given)


def init_judge(cfg, judge: Judge, key: jax.Array, channels: int = CHANNELS):
  """Of what it sees of a clip with so many channels."""
  clip = jnp.zeros((*_clip(cfg).shape[:-1], channels))
  given = Given(clip[:, 0, ..., :CHANNELS], jnp.ones(1, bool))
  view = judge.see(lambda name: jax.random.key(0), 'real', clip, given)
  return judge.network.init(key, view, jnp.zeros(1), jnp.zeros(1, jnp.int32))


def init_denoiser(cfg, key: jax.Array) -> dict[str, Any]:
  """With the aligner in it, which stages that do not train it leave out of their programs."""
  condition = Condition.plain(jnp.zeros(1, jnp.int32), cfg.data.frames, cfg.draft.latent_size)
  condition = condition.replace(align=jnp.ones(1))
  return make(cfg).denoiser.init(key, _clip(cfg), jnp.zeros(1), condition, jnp.ones(1))


def init_bridge(cfg, key: jax.Array) -> dict[str, Any]:
  return make(cfg).bridge.init(key, _clip(cfg), jnp.zeros(1))


def _clip(cfg):
  return jnp.zeros((1, cfg.data.frames, cfg.data.size, cfg.data.size, CHANNELS))
