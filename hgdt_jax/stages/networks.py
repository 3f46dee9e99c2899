"""The four networks of a configuration, and how each is initialised."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hgdt_jax.config import Config
from hgdt_jax.models.bridge import Bridge
from hgdt_jax.models.critic import Critic
from hgdt_jax.models.generator import Generator
from hgdt_jax.models.unet3d import Condition, UNet3D

CHANNELS = 3


class Networks(NamedTuple):
  generator: Generator
  critic: Critic
  denoiser: UNet3D
  bridge: Bridge


def make(cfg: Config) -> Networks:
  common = dict(classes=cfg.data.classes, dtype=jnp.dtype(cfg.dtype))
  latent_size = cfg.generator.latent_size
  critic = dataclasses.asdict(cfg.critic)
  for name in ('spectral_norm', 'frames'):  # these act on what the network is given
    critic.pop(name)
  return Networks(
    Generator(
      size=cfg.data.size,
      channels=CHANNELS,
      image=cfg.gan.image_share > 0,
      **dataclasses.asdict(cfg.generator),
      **common,
    ),
    Critic(**critic, **common),
    UNet3D(
      channels=CHANNELS, latent_size=latent_size, **dataclasses.asdict(cfg.denoiser), **common
    ),
    Bridge(latent_size=latent_size, **dataclasses.asdict(cfg.bridge), dtype=common['dtype']),
  )


def init_generator(cfg: Config, key: jax.Array):
  generator = make(cfg).generator
  init_key, code_key = jax.random.split(key)
  z = generator.draw_codes(code_key, 1, cfg.data.frames)
  image = _clip(cfg)[:, 0] if generator.image else None
  return generator.init(init_key, z, jnp.zeros(1, jnp.int32), image)['params']


def init_critic(cfg: Config, key: jax.Array):
  label = jnp.zeros(1, jnp.int32)
  return make(cfg).critic.init(key, _clip(cfg), jnp.zeros(1), label)['params']


def init_step_critic(cfg: Config, key: jax.Array):
  """A critic of pairs: a clip after a step beside the clip before it, along the channels."""
  pair = jnp.concatenate([_clip(cfg), _clip(cfg)], axis=-1)
  return make(cfg).critic.init(key, pair, jnp.zeros(1), jnp.zeros(1, jnp.int32))['params']


def init_denoiser(cfg: Config, key: jax.Array):
  """With the aligner in it, which stages that do not train it leave out of their programs."""
  condition = Condition.plain(jnp.zeros(1, jnp.int32), cfg.data.frames, cfg.generator.latent_size)
  condition = condition.replace(align=jnp.ones(1))
  denoiser = make(cfg).denoiser
  return denoiser.init(key, _clip(cfg), jnp.zeros(1), condition, jnp.ones(1))['params']


def init_bridge(cfg: Config, key: jax.Array):
  return make(cfg).bridge.init(key, _clip(cfg), jnp.zeros(1))['params']


def _clip(cfg):
  return jnp.zeros((1, cfg.data.frames, cfg.data.size, cfg.data.size, CHANNELS))
