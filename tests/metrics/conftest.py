"""Golden values, and clips whose truth is known."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='session')
def golden_dir():
  """Folder of the golden values; its README says what they are."""
  return GOLDEN


@pytest.fixture(scope='session')
def golden(golden_dir):
  """The index of golden scalars."""
  return json.loads((golden_dir / 'golden.json').read_text())


@pytest.fixture(scope='session')
def golden_inputs(golden_dir):
  """The module that makes the inputs of the golden values."""
  spec = importlib.util.spec_from_file_location('golden_inputs', golden_dir / 'golden_inputs.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='session')
def make_clips():
  """`make_clips(n, seed)`: uint8 [n, 8, 32, 32, 3], a textured square that moves on a texture."""

  def make(count, seed, frames=8, size=32):
    rng = np.random.default_rng(seed)
    clips = np.empty((count, frames, size, size, 3), np.uint8)
    for clip in clips:
      low, high = rng.integers(0, 100, 3), rng.integers(150, 256, 3)
      stripes = np.sin(np.arange(size) * rng.uniform(0.5, 1.5))[:, None, None]
      position, speed = rng.uniform(4, 12, 2), rng.uniform(-1.5, 1.5, 2)
      for t in range(frames):
        clip[t] = low + 10 * stripes + 10
        top, left = (position + speed * t).round().astype(int).clip(0, size - 10)
        clip[t, top : top + 10, left : left + 10] = high
    return clips

  return make


@pytest.fixture
def folders(tmp_path, make_clips):
  """Four npz files of 12 frames each in `real` and `fake`."""
  for name, seed in (('real', 1), ('fake', 2)):
    (tmp_path / name).mkdir()
    for i, clip in enumerate(make_clips(4, seed, frames=12)):
      np.savez(tmp_path / name / f'{i}.npz', video=clip)
  return tmp_path / 'real', tmp_path / 'fake'
