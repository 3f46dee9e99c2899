"""A denoiser that is no part of the package: docs/extending.md's, as it stands."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import run, settings
from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.denoisers.types import Condition


@pytest.fixture
def given(files):
  return importlib.import_module('with_stack').get_config().to_dict()


def test_its_recipe_is_a_configuration_and_knows_its_fields(given):
  assert settings.build(settings.Config, given).denoiser.width == 32
  for section, change, says in (
    ('denoiser', dict(patch=2), r'denoiser\.patch: no such field; there are name, width'),
    ('data', dict(size=128), r'denoiser\.width=32: data\.size=128 is beyond it'),
    ('denoiser', dict(name='stick'), r"denoiser\.name='stick': want one of unet3d, dit, stack"),
  ):
    with pytest.raises(ValueError, match=rf'^config\.{says}'):
      settings.build(settings.Config, given | {section: given[section] | change})


@pytest.mark.long
def test_it_trains_and_is_scored(given, tiny_dict, tmp_path):
  tiny_dict |= {'plugins': given['plugins'], 'denoiser': given['denoiser']}
  tiny_dict['stages'] = ('diffusion',)
  tiny_dict['evaluation'] |= dict(clips=4, batch=4, checks=0, evaluations=(), taus=(), flow_clips=1)
  run.main(tiny_dict, tmp_path / 'run')
  rows = json.loads((tmp_path / 'run' / 'results.json').read_text())['results']
  methods = [row['method'] for row in rows]
  assert methods == ['real', 'diffusion_frames', 'diffusion', 'diffusion_first_frame']


def test_without_mixing_frames_are_apart(given):
  section = settings.build(settings.Config, given).denoiser
  family = DENOISERS[section.name]
  network = family.make(section, channels=3, latent_size=8, classes=2, dtype=jnp.float32)
  x = jax.random.normal(jax.random.key(0), (2, 4, 8, 8, 3))
  t, told = jnp.full(2, 0.5), Condition.plain(jnp.array([0, -1]), 4, 8)
  params = network.init(jax.random.key(1), x, t, told, jnp.ones(2))
  params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # away from its zeros
  apply = lambda x: network.apply(params, x, t, told, jnp.array([0.0, 1.0])).output
  changed = np.abs(apply(x.at[:, 1].add(x[:, 2])) - apply(x)).max(axis=(2, 3, 4)) > 0
  assert changed.tolist() == [[False, True, False, False], [True, True, True, False]]
