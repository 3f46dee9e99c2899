"""One of each that is no part of the package: the files of docs/extending.md, as they stand."""

import importlib
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import input_pipeline
from hgdt_jax import checkpoint, handed_on, run, sampled, settings, sharding, trained
from hgdt_jax import workdir as workdirs
from hgdt_jax.losses import adversarial
from hgdt_jax.request import Request

PLUGINS = ('painter', 'stack', 'squares', 'contrast', 'bars', 'half_ddim', 'polish', 'pearson')
STAGES = ('autoencoder', 'gan', 'diffusion', 'polish')


@pytest.fixture
def plugged(files, tiny_dict):
  """The smallest configuration with all of them."""
  tiny_dict |= {'plugins': PLUGINS, 'stages': STAGES, 'polish': {'steps': 4, 'learning_rate': 1e-3}}
  tiny_dict |= {'autoencoder': {'steps': 2, 'learning_rate': 1e-3}}
  tiny_dict['draft'] = {'name': 'painter', 'width': 8, 'code_size': 4}
  tiny_dict['denoiser'] = {'name': 'stack', 'width': 8}
  tiny_dict['space'] = {'name': 'squares', 'channels': 4}
  tiny_dict['data'] |= {'source': 'bars', 'classes': -1}
  tiny_dict['aligner']['latents'] = 'none'
  tiny_dict['hybrid']['sampler'] = 'ddim_half'
  tiny_dict['evaluation'] |= dict(checks=1, evaluations=(), taus=(0.5,), metrics=('contrast',))
  return tiny_dict


@pytest.mark.long
def test_they_train_resume_are_scored_shown_and_sampled(plugged, tmp_path):
  whole, halves = tmp_path / 'whole', tmp_path / 'halves'
  run.main(plugged, whole)
  first = plugged | {
    'stages': ('autoencoder',),
    'autoencoder': plugged['autoencoder'] | {'steps': 1},
  }
  run.train_stages(first, halves)
  plugged['polish']['steps'] = 2
  run.train_stages(plugged, halves)
  plugged['polish']['steps'] = 4
  run.train_stages(plugged, halves)
  for stage in STAGES:
    states = [_state(workdir, stage) for workdir in (whole, halves)]
    jax.tree.map(np.testing.assert_array_equal, *states)
  model = trained.Trained.load(whole)
  draw = lambda method: model.draw(method, np.zeros(4, int), 0, steps=1, tau=0.5)
  assert (draw('polished') != draw('hybrid')).any()  # another denoiser
  asked = Request('polished', num=4, sampler='ddim_half')
  sampled.write(whole, tmp_path / 'clips', asked)
  assert len(list((tmp_path / 'clips').glob('*.mp4'))) == 4

  rows = json.loads((whole / 'results.json').read_text())['results']
  assert [row['method'] for row in rows][-1] == 'polished'
  assert all(0 < row['metrics']['contrast'] < 1 for row in rows)
  logged = [json.loads(line) for line in (whole / 'metrics.jsonl').read_text().splitlines()]
  scored = [row for row in logged if 'polish/held_out/motion_ratio' in row]
  assert [row['step'] for row in scored] == [4]
  page = (whole / 'report' / 'index.html').read_text()
  assert 'Hybrid, polished' in page and 'standard deviation of the pixels of a clip' in page


def _state(workdir, stage):
  cfg, mesh = workdirs.read_config(workdir), sharding.make_mesh(-1, 1)
  with checkpoint.Checkpoints(workdir, stage) as checkpoints:
    return checkpoints.restore(handed_on.abstract_state(cfg, stage, mesh))[0]


@pytest.mark.parametrize('name', ['painter', 'stack', 'squares'])
def test_its_recipe_is_a_configuration(files, name):
  given = importlib.import_module(f'with_{name}').get_config().to_dict()
  assert settings.build(settings.Config, given).plugins == (name,)


@pytest.mark.long
def test_a_loss_is_one_that_the_house_s_own_gan_plays_by(files, tiny_dict, tmp_path):
  tiny_dict |= {'plugins': ('pearson',), 'stages': ('gan',)}
  tiny_dict['draft']['objective'] = 'pearson'
  tiny_dict['evaluation']['checks'] = 0
  importlib.import_module('pearson')
  asked, plain = [], adversarial.OBJECTIVES['pearson']

  def watched(real, fake):
    asked.append(real.shape)
    return plain.critic(real, fake)

  adversarial.OBJECTIVES['pearson'] = plain._replace(critic=watched)
  run.train_stages(tiny_dict, tmp_path / 'run')
  logged = [
    json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().split('\n')[:2]
  ]
  assert asked and [row['step'] for row in logged] == [1, 2]
  assert all(np.isfinite(row['gan/d_loss']) and row['gan/g_grad_norm'] > 0 for row in logged)


def test_a_stage_without_its_section_is_named(plugged):
  del plugged['polish']
  with pytest.raises(ValueError, match=r'config\.polish: missing; stage polish has its settings'):
    settings.build(settings.Config, plugged)


@pytest.mark.long
def test_a_source_is_prepared(files, tmp_path):
  verb = [sys.executable, '-m', 'input_pipeline.prepare', '--source=bars', '--count=6']
  verb += [f'--out={tmp_path / "set"}', '--size=16', '--frames=4']
  run_it = lambda plugin: subprocess.run(
    [*verb, f'--plugins={plugin}'],
    capture_output=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(files)},
  )
  done = run_it('bars')
  assert done.returncode == 0, done.stderr
  assert '6 clips in train, 6 clips in test' in done.stdout
  options = dict(frames=4, size=16, split='train', seed=0)
  prepared = input_pipeline.make_source('arrayrecord', path=str(tmp_path / 'set'), **options)
  clips = importlib.import_module('bars').Bars('', count=6, **options)
  for i in range(6):
    np.testing.assert_array_equal(prepared[i]['video'], clips[i]['video'])
  wrong = run_it('no_such')
  assert wrong.returncode == 1 and "--plugins: No module named 'no_such'" in wrong.stderr


def test_the_list_names_all_that_is_registered(files, tmp_path):
  recipe = tmp_path / 'with_plugins.py'
  recipe.write_text(
    'from configs import hybrid\n\n\ndef get_config():\n'
    f"  config = hybrid.get_config('small')\n  config.plugins = {PLUGINS}\n  return config\n"
  )
  verb = [sys.executable, '-m', 'hgdt_jax.main', '--list', f'--config={recipe}']
  found_in = {**os.environ, 'PYTHONPATH': str(files)}
  done = subprocess.run(verb, capture_output=True, text=True, env=found_in)
  assert done.returncode == 0, done.stderr
  for name in (
    'style',
    'painter',
    'stack',
    'squares',
    'polished',
    'contrast',
    'bars',
    'ddim_half',
    'pearson',
    'fvd',
  ):
    assert f'\n  {name} ' in done.stdout
