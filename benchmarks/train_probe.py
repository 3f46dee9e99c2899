"""Trains the probe of the synthetic source and writes its weights into the package.

  python benchmarks/train_probe.py [--steps=3000] [--clips=8192] [--out=FILE]

Ten CPU minutes, fifteen by the clock on two busy cores. The seed is fixed, but another machine may
round otherwise: the sha256 in a stamp says which weights made a number.
"""

import argparse
import functools
import pathlib
import sys
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from hgdt_jax.metrics import probe
from input_pipeline.synthetic import Synthetic

_FRAMES = 16  # of each clip
_BATCH = 256
_RATE = 3e-3  # at its highest
_HELD_OUT = 2048  # clips


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument('--steps', type=int, default=3000)
  parser.add_argument('--clips', type=int, default=8192)
  parser.add_argument('--out', type=pathlib.Path, default=probe.WEIGHTS)
  args = parser.parse_args()
  params = train(frames_of('train', args.clips), args.steps)
  held_out = frames_of('test', _HELD_OUT)
  found = errors(params, held_out)
  for name, value in found.items():
    print(f'{name} {value:.4f}')
  flat = flax.traverse_util.flatten_dict(params['params'], sep='/')
  arrays = {name: np.asarray(a, np.float32) for name, a in sorted(flat.items())}
  named = {f'{probe.ERRORS}{name}': np.float32(value) for name, value in found.items()}
  np.savez(args.out, **arrays, **named)
  print(f'{sum(a.size for a in arrays.values())} weights written to {args.out}')


def frames_of(split, clips):
  """All frames of so many clips, uint8 `[N, 32, 32, 3]`, and what is true of each."""
  source = Synthetic(_FRAMES, probe.SIZE, clips, seed=20260101, split=split)
  truths = [source.truth(i) for i in range(clips)]
  joined = lambda field: np.concatenate([getattr(t, field) for t in truths]).astype(np.float32)
  return {
    'frame': np.concatenate([source[i]['video'] for i in range(clips)]),
    'label': np.repeat([probe.CLASSES.index(t.shape) for t in truths], _FRAMES),
    **{field: joined(field) for field in ('centre', 'radius', 'colour', 'covered')},
  }


def train(data, steps):
  """The variables of a `Probe` after so many steps on `data`, averaged over the last of them."""
  schedule = optax.warmup_cosine_decay_schedule(0.0, _RATE, steps // 15, steps)
  optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))
  root = jax.random.key(0)
  params = probe.Probe().init(root, jnp.zeros((1, probe.SIZE, probe.SIZE, 3)))

  @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
  def step(params, averaged, state, batch, number):
    batch = spoilt(batch, jax.random.fold_in(root, number))
    value, gradients = jax.value_and_grad(loss)(params, batch)
    updates, state = optimiser.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    return params, optax.incremental_update(params, averaged, 0.005), state, value

  rng, start = np.random.default_rng(0), time.monotonic()
  averaged, state = jax.tree.map(jnp.copy, params), optimiser.init(params)
  for number in range(steps):
    rows = rng.integers(0, len(data['frame']), _BATCH)
    batch = {name: values[rows] for name, values in data.items()}
    params, averaged, state, value = step(params, averaged, state, batch, number)
    if number % 500 == 499:
      print(f'{number + 1} steps {time.monotonic() - start:.0f}s loss {value:.3f}', flush=True)
  return averaged


def loss(params, batch):
  """Cross entropy, and absolute errors in units about as small as the probe can tell."""
  logits, log_radius, centre, colour = probe.Probe().apply(params, batch['frame'])
  classes = optax.softmax_cross_entropy_with_integer_labels(logits, batch['label']).mean()
  radius = jnp.abs(log_radius - jnp.log(batch['radius'])).mean() / 0.03
  place = jnp.abs(centre - batch['centre']).mean() * probe.SIZE / 0.2
  shade = jnp.abs(colour - batch['colour']).mean() / 0.015
  return classes + 0.2 * (radius + place + shade)


def spoilt(batch, key):
  """Frames in [0, 1], half of them blurred, paler, greyer and noisy, each by its own amount."""
  keys = jax.random.split(key, 6)
  n = len(batch['label'])
  frames = batch['frame'].astype(jnp.float32) / 255
  worse = jax.random.bernoulli(keys[0], 0.5, (n,))
  amount = lambda key, low, high, none: jnp.where(
    worse, jax.random.uniform(key, (n,), minval=low, maxval=high), none
  )
  wide = amount(keys[1], 0.01, 1.2, 0.01)[:, None, None]  # pixels
  apart = jnp.arange(probe.SIZE)[:, None] - jnp.arange(probe.SIZE)[None]
  blur = jnp.exp(-0.5 * (apart[None] / wide) ** 2)
  blur /= blur.sum(axis=2, keepdims=True)
  frames = jnp.einsum('nij,njkc,nlk->nilc', blur, frames, blur)
  contrast = amount(keys[2], 0.6, 1.2, 1.0)[:, None]
  saturation = amount(keys[3], 0.0, 1.2, 1.0)[:, None]

  def pale(colours):  # [N, D, 3]
    grey = colours.mean(axis=-1, keepdims=True)
    colours = grey + saturation[..., None] * (colours - grey)
    return 0.2 + contrast[..., None] * (colours - 0.2)

  frames = pale(frames.reshape(n, -1, 3)).reshape(frames.shape)
  noise = amount(keys[4], 0.0, 0.06, 0.0)[:, None, None, None]
  frames = frames + noise * jax.random.normal(keys[5], frames.shape)
  colour = pale(batch['colour'][:, None])[:, 0]
  return batch | {'frame': jnp.clip(frames, 0, 1), 'colour': jnp.clip(colour, 0, 1)}


def errors(params, data):
  """How far off the probe is on frames as they are, and on spoilt ones. Lengths are in pixels."""
  chunks = [slice(i, i + 1024) for i in range(0, len(data['frame']), 1024)]
  part = lambda chunk: {name: values[chunk] for name, values in data.items()}
  clean = [_errors_of(params, part(c) | {'frame': data['frame'][c] / 255.0}) for c in chunks]
  worse = jax.jit(lambda batch, key: spoilt(batch, key))
  keys = jax.random.split(jax.random.key(1), len(chunks))
  rough = [_errors_of(params, worse(part(c), key)) for c, key in zip(chunks, keys)]
  joined = lambda found: {name: np.concatenate([one[name] for one in found]) for name in found[0]}
  clean, rough = joined(clean), joined(rough)
  free, behind = data['covered'] == 0, data['covered'] > 0
  return {
    **{name: values[free].mean() for name, values in clean.items()},
    **{f'{name}_covered': values[behind].mean() for name, values in clean.items()},
    **{f'{name}_spoilt': values[free].mean() for name, values in rough.items()},
  }


@jax.jit
def _errors_of(params, batch):
  logits, log_radius, centre, colour = probe.Probe().apply(params, batch['frame'])
  return {
    'accuracy': (logits.argmax(-1) == batch['label']).astype(jnp.float32),
    'radius': jnp.abs(jnp.exp(log_radius) / batch['radius'] - 1),
    'centre': jnp.linalg.norm(centre - batch['centre'], axis=-1) * probe.SIZE,
    'colour': jnp.linalg.norm(colour - batch['colour'], axis=-1),
  }


if __name__ == '__main__':
  main()
