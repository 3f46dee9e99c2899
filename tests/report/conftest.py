"""A small workdir with every part of a finished run in it."""

import json
import shutil

import numpy as np
import pytest

from hgdt_jax import writer
from hgdt_jax.sampling import folders

METHODS = ('real', 'gan', 'diffusion_frames', 'diffusion', 'hybrid')
SCORES = {  # frechet, motion ratio, warping error, flickering
  'gan': (20.3, 1.1, 0.021, 0.962),
  'diffusion_frames': (71.2, 3.1, 0.152, 0.81),
  'diffusion': (40.1, 1.62, 0.041, 0.911),
  'hybrid': (17.8, 0.97, 0.018, 0.971),
}


def clips_of(method):
  """Two clips `[2, 3, 16, 16, 3]`, different for each method."""
  rng = np.random.default_rng(METHODS.index(method))
  return rng.integers(0, 256, (2, 3, 16, 16, 3), dtype=np.uint8)


def metrics(frechet, motion, warping, flickering):
  return {
    'frechet_random_conv3d': frechet,
    'motion_ratio': motion,
    'warping_error': warping,
    'temporal_flickering': flickering,
  }


@pytest.fixture
def results():
  """results.json as the pipeline writes it."""
  stamp = {name: {'clips': 64, 'split': 'test'} for name in metrics(0, 0, 0, 0)}
  return {
    'results': [
      {
        'method': method,
        'network_evaluations': {'gan': 1, 'hybrid': 5}.get(method, 16),
        'seconds_per_clip': 0.25,
        'metrics': metrics(*values),
        'protocol': stamp,
      }
      for method, values in SCORES.items()
    ],
    'environment': {'device': 'TPU v9', 'devices': 4, 'wall_seconds': 611.3},
    'curves': {
      'tau': [
        {
          'tau': tau,
          'network_evaluations': 4,
          'metrics': {'warping_error': 0.1, 'motion_ratio': 1 + tau},
        }
        for tau in (0.0, 0.5, 1.0)
      ],
      'network_evaluations': [
        {
          'method': method,
          'network_evaluations': n,
          'metrics': {'frechet_random_conv3d': 20 + 8 / n},
        }
        for method in ('diffusion', 'hybrid')
        for n in (2, 4, 8)
      ],
    },
  }


@pytest.fixture(scope='session')
def drawn():
  """By method, the clips that the workdir holds."""
  return {method: clips_of(method) for method in METHODS}


@pytest.fixture(scope='session')
def samples(tmp_path_factory, drawn):
  """The samples/ of a workdir."""
  root = tmp_path_factory.mktemp('samples')
  for method, clips in drawn.items():
    folders.write_samples(clips, root / method)
  return root


@pytest.fixture
def workdir(tmp_path, results, samples):
  """A finished run."""
  root = tmp_path / 'my_run'
  shutil.copytree(samples, root / 'samples')
  config = {
    'seed': 17,
    'stages': ['gan', 'diffusion'],
    'dtype': 'bfloat16',
    'data': {'source': 'synthetic', 'frames': 3, 'size': 16, 'batch': 8},
    'gan': {'steps': 20},
    'diffusion': {'steps': 20, 'times': 'truncated', 'low_noise_share': 0.75},
    'hybrid': {'tau': 0.3, 'steps': 4},
  }
  document = {'config': config, 'versions': {'jax': '9.8.7'}}
  (root / 'config.json').write_text(json.dumps(document))
  rows = writer.JsonLines(root)
  for stage in config['stages']:
    for step in range(1, 21):
      values = {f'{stage}/loss': 1 / step}
      rows.write(stage, step, values)
  rows.close()
  (root / 'results.json').write_text(json.dumps(results))
  return root
