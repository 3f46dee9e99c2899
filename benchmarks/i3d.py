"""Throughput of I3D features against the PyTorch I3D that FVD codebases use, on a CPU.

  python benchmarks/i3d.py [--batch=2] [--size=64] [--frames=16] [--threads=2] [--repeats=5]

Both take the same uint8 clips to logits, resizing included, with equal (seeded) weights, batch and
threads, in one process and by turns. The PyTorch network is the port of TATS, VideoGPT and cd-fvd
(convolution, batch normalisation and ReLU in eager mode under `inference_mode`), written out here
with TF-Hub's epsilon. Needs PyTorch: `pip install "hgdt_jax[convert]"`.
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument('--batch', type=int, default=2)
  parser.add_argument('--size', type=int, default=64, help='pixels a side; networks see 224')
  parser.add_argument('--frames', type=int, default=16)
  parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
  parser.add_argument('--repeats', type=int, default=5, help='the best of so many is printed')
  args = parser.parse_args()
  # Before either library counts the cores.
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
  os.environ['JAX_PLATFORMS'] = 'cpu'
  compare(args)


def compare(args):
  """Checks that both give the same logits, times them by turns, prints a table."""
  import jax
  import numpy as np
  import torch

  from hgdt_jax.metrics.networks import i3d

  torch.set_num_threads(args.threads)
  arrays = seeded_weights()
  ours, theirs = i3d.build(arrays, 'logits')[0], torch_i3d(arrays, i3d.EPSILON, i3d.SIZE)
  shape = (args.batch, args.frames, args.size, args.size, 3)
  clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  expected = theirs(clips)
  error = np.abs(ours(clips) - expected).max() / np.abs(expected).max()
  if error > 1e-4:
    raise SystemExit(f'the two networks differ: {error:.1e} of the largest logit')
  best = {}
  for _ in range(args.repeats):
    for name, features in (('hgdt_jax', ours), ('PyTorch', theirs)):
      start, cpu = time.perf_counter(), time.process_time()
      features(clips)
      spent = (time.perf_counter() - start, time.process_time() - cpu)
      best[name] = tuple(min(pair) for pair in zip(spent, best.get(name, spent)))
  print(f'{args.batch} clips of {args.frames}x{args.size}x{args.size}, {args.threads} threads')
  print(f'jax {jax.__version__}, torch {torch.__version__}; logits differ by {error:.1e}')
  for name, (seconds, cpu) in best.items():
    figures = args.batch / seconds, seconds / args.batch, cpu / args.batch
    print('{:9} {:6.2f} clips/s  {:6.3f} s/clip  {:6.3f} CPU s/clip'.format(name, *figures))
  by_clock, by_cpu = (t / o for t, o in zip(best['PyTorch'], best['hgdt_jax']))
  print(f'ratio: {by_clock:.2f} by the clock, {by_cpu:.2f} by CPU time')


def seeded_weights():
  """Flat arrays of I3D (see `hgdt_jax.metrics.networks.weights`), He-uniform, from one seed."""
  import flax
  import jax
  import jax.numpy as jnp
  import numpy as np

  from hgdt_jax.metrics.networks import i3d

  clip = jax.ShapeDtypeStruct((1, i3d.FEWEST_FRAMES, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(i3d.InceptionI3d().init, jax.random.key(0), clip)['params']
  rng, arrays = np.random.default_rng(0), {}
  for name, leaf in flax.traverse_util.flatten_dict(shapes, sep='/').items():
    path, _, kind = name.rpartition('/')
    if kind == 'kernel':
      bound = np.sqrt(6 / np.prod(leaf.shape[:-1]))
      arrays[name] = rng.uniform(-bound, bound, leaf.shape)
    elif path == 'Logits':
      arrays[name] = rng.uniform(-0.1, 0.1, leaf.shape)
    else:  # published with a batch normalisation in place of the bias
      arrays[f'{path}/beta'], arrays[f'{path}/mean'] = rng.uniform(-0.1, 0.1, (2, *leaf.shape))
      arrays[f'{path}/var'] = rng.uniform(0.5, 1.5, leaf.shape)
  return {name: array.astype(np.float32) for name, array in arrays.items()}


def torch_i3d(arrays, epsilon, size):
  """uint8 [N, T, H, W, 3] -> logits [N, 400], with torch operations alone."""
  import numpy as np
  import torch
  from torch.nn import functional as F

  def tensor(name):
    array = arrays[name]
    array = np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim == 5 else array
    return torch.from_numpy(np.ascontiguousarray(array))

  weights = {name: tensor(name) for name in arrays}

  def padded(x, window, strides):
    """'SAME', as TensorFlow pads."""
    margins = []
    for length, reach, stride in zip(x.shape[:1:-1], window[::-1], strides[::-1]):
      missing = max((-(-length // stride) - 1) * stride + reach - length, 0)
      margins += [missing // 2, missing - missing // 2]
    return F.pad(x, margins)

  def unit(x, path, stride=1):
    kernel = weights[f'{path}/kernel']
    x = F.conv3d(padded(x, kernel.shape[2:], (stride,) * 3), kernel, stride=stride)
    mean, var, beta = (weights[f'{path}/{name}'] for name in ('mean', 'var', 'beta'))
    return F.relu(F.batch_norm(x, mean, var, None, beta, eps=epsilon))

  def pool(x, window, strides):
    return F.max_pool3d(padded(x, window, strides), window, strides)  # after ReLU 0 is the least

  def mixed(x, block):
    a = unit(x, f'{block}/Branch_0_Conv3d_0a_1x1')
    b = unit(unit(x, f'{block}/Branch_1_Conv3d_0a_1x1'), f'{block}/Branch_1_Conv3d_0b_3x3')
    c = unit(unit(x, f'{block}/Branch_2_Conv3d_0a_1x1'), f'{block}/Branch_2_Conv3d_0b_3x3')
    d = unit(pool(x, (3, 3, 3), (1, 1, 1)), f'{block}/Branch_3_Conv3d_0b_1x1')
    return torch.cat([a, b, c, d], dim=1)

  @torch.inference_mode()
  def features(clips):
    n, t, h, w, c = clips.shape
    x = torch.from_numpy(clips).permute(0, 1, 4, 2, 3).reshape(n * t, c, h, w).float()
    x = F.interpolate(x, (size, size), mode='bilinear', align_corners=False) * (2 / 255) - 1
    x = x.reshape(n, t, c, size, size).permute(0, 2, 1, 3, 4).contiguous()
    x = pool(unit(x, 'Conv3d_1a_7x7', 2), (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, 'Conv3d_2b_1x1'), 'Conv3d_2c_3x3')
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for stage, window, blocks in (
      ('3', None, 'bc'), ('4', (3, 3, 3), 'bcdef'), ('5', (2, 2, 2), 'bc'),
    ):  # fmt: skip
      x = pool(x, window, (2, 2, 2)) if window else x
      for letter in blocks:
        x = mixed(x, f'Mixed_{stage}{letter}')
    x = F.avg_pool3d(x, (2, 7, 7), (1, 1, 1))
    x = F.conv3d(x, weights['Logits/kernel'], weights['Logits/bias'])
    return x[..., 0, 0].mean(dim=2).numpy()

  return features


if __name__ == '__main__':
  main()
