"""Inputs and seeded weights of the golden values.

Only Generator(PCG64(seed)).random() and basic arithmetic are used: the bytes are the same on every
platform. golden.json holds the sha256 of arrays.
"""

import hashlib
import zlib

import numpy as np


def rng(seed):
  return np.random.Generator(np.random.PCG64(seed))


def sha(a):
  a = np.ascontiguousarray(a)
  return hashlib.sha256(a.tobytes()).hexdigest()


def moving_blobs(n=64, t=16, size=64, seed=1234, jitter=0, nblobs=3):
  """uint8 (n, t, size, size, 3): soft discs on a colour ramp, moving on straight lines.

  jitter: integer; each frame is rolled by independent (dy, dx) in [-jitter, jitter].
  With the same seed, the jittered set shows the same blobs (the jitter has its own stream).
  Only + - * / floor, no transcendental functions.
  """
  r = rng(seed)
  rj = rng(seed + 1000003)
  yy, xx = np.meshgrid(
    np.arange(size, dtype=np.float64), np.arange(size, dtype=np.float64), indexing='ij'
  )
  out = np.empty((n, t, size, size, 3), np.uint8)
  for i in range(n):
    c0, c1 = r.random(3) * 100.0, r.random(3) * 100.0
    a = r.random(1)[0]
    ramp = (a * yy + (1.0 - a) * xx) / (size - 1.0)
    bg = c0[None, None] + (c1 - c0)[None, None] * ramp[..., None]
    pos = r.random((nblobs, 2)) * size
    vel = (r.random((nblobs, 2)) - 0.5) * 6.0
    rad = 4.0 + r.random(nblobs) * 8.0
    col = 80.0 + r.random((nblobs, 3)) * 175.0
    for k in range(t):
      f = bg
      for b in range(nblobs):
        p = pos[b] + vel[b] * k
        p = p - np.floor(p / size) * size  # wrap
        d2 = (yy - p[0]) * (yy - p[0]) + (xx - p[1]) * (xx - p[1])
        w = 1.5 - d2 / (rad[b] * rad[b])
        w = np.minimum(np.maximum(w, 0.0), 1.0)[..., None]
        f = f * (1.0 - w) + col[b][None, None] * w
      img = np.floor(np.minimum(np.maximum(f, 0.0), 255.0) + 0.5)
      img = np.minimum(img, 255.0).astype(np.uint8)
      if jitter:
        d = np.floor(rj.random(2) * (2 * jitter + 1)).astype(int) - jitter
        img = np.roll(img, (int(d[0]), int(d[1])), axis=(0, 1))
      out[i, k] = img
  return out


def features(n, d, seed, shift=0.0, scale=1.0):
  """float64 (n, d) correlated features: (sum of 4 uniforms, centred) @ mixing + shift."""
  r = rng(seed)
  z = r.random((n, d, 4)).sum(-1) - 2.0
  m = (r.random((d, d)) - 0.5) * 2.0
  q = r.random(d) * 2.0
  x = z * q[None] * scale
  # banded mixing with exactly specified order of operations
  y = x.copy()
  for k in range(1, 4):
    y[:, k:] += x[:, :-k] * m[k, k:][None]
  return y + shift * (r.random(d)[None] - 0.25)


def seeded_uniform(name, shape, bound, seed=0):
  """float32 U(-bound, bound) from a stream of (seed, crc32(name)): the order does not matter."""
  key = (int(seed) << 32) | zlib.crc32(name.encode('utf-8'))
  u = rng(key).random(int(np.prod(shape)))
  return ((u * 2.0 - 1.0) * bound).astype(np.float32).reshape(shape)


def conv_weight(name, shape, seed=0, gain=1.0):
  """He-uniform kernel, torch layout (out, in, *spatial); bound = gain*sqrt(6/fan_in)."""
  fan_in = int(np.prod(shape[1:]))
  return seeded_uniform(name, shape, gain * float(np.sqrt(np.float64(6.0) / fan_in)), seed)
