"""Seconds a training step and seconds to compile it, of every stage of a preset.

Beside the stage `gan`: the share of its step that one forward pass of the generator takes, which
both updates use.

python benchmarks/steps.py --config=configs/hybrid.py:small --repeats=10
"""

import functools
import time

import jax
import jax.numpy as jnp
from absl import flags

from hgdt_jax import cli, handed_on, machine, programs, settings, sharding
from hgdt_jax.stages import STAGES, networks

_CONFIG = cli.config_flag('config', 'configs/hybrid.py', 'Recipe, and its preset.')
_REPEATS = flags.DEFINE_integer('repeats', 10, 'Steps timed, after one that is not.', lower_bound=1)


def main():
  machine.start()
  given = _CONFIG.value.to_dict()
  given['data']['classes'] = 0  # no source is opened
  cfg = settings.build(settings.Config, given)
  mesh = sharding.make_mesh(cfg.mesh.data, cfg.mesh.fsdp)
  like = programs.abstract_batch(cfg, mesh)
  batch = {name: jnp.zeros(of.shape, of.dtype, device=of.sharding) for name, of in like.items()}
  root = jax.device_put(jax.random.key(1), sharding.replicated(mesh))
  shape = batch['video'].shape
  print(f'{jax.devices()[0].device_kind} x {jax.device_count()}, clips {shape}, {cfg.dtype}')
  print('stage      compile s  step s   clips/s')
  for stage, module in STAGES.items():
    start = time.monotonic()
    step = programs.compiled(cfg, stage, mesh)
    compiled = time.monotonic() - start
    like = handed_on.abstract_state(cfg, stage, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
    begin = jax.jit(functools.partial(module.init, cfg), out_shardings=shardings)
    state, _ = step(begin(jax.random.key(0)), batch, root)
    jax.block_until_ready(state)
    began = time.monotonic()
    for _ in range(_REPEATS.value):
      state, _ = step(state, batch, root)
    jax.block_until_ready(state)
    seconds = (time.monotonic() - began) / _REPEATS.value
    rate = cfg.data.batch / seconds
    note = f'   generator forward {_forward(cfg, state) / seconds:.0%}' if stage == 'gan' else ''
    print(f'{stage:10s} {compiled:9.1f} {seconds:7.3f} {rate:9.1f}{note}', flush=True)


def _forward(cfg, state):
  """Seconds of a forward pass of the generator for one batch."""
  gan = networks.make(cfg).gan
  codes = gan.codes(jax.random.key(0), cfg.data.batch, cfg.data.frames)
  label, variables = jnp.full(cfg.data.batch, -1), state.nets['generator'].variables()
  draw = jax.jit(lambda variables: gan.generator.apply(variables, codes, label).clip)
  jax.block_until_ready(draw(variables))
  began = time.monotonic()
  for _ in range(_REPEATS.value):
    jax.block_until_ready(draw(variables))
  return (time.monotonic() - began) / _REPEATS.value


if __name__ == '__main__':
  cli.run(main)
