"""A stage that begins where one of another run ended."""

import re
import shutil

import jax
import numpy as np
import pytest

from hgdt_jax import handed_on, run, settings, sharding
from hgdt_jax import workdir as workdirs


def _begun(workdir, mesh, stage, name):
  """A network that a stage handed on."""
  cfg = workdirs.read_config(workdir)
  return handed_on.weights(workdir, cfg, stage, mesh, [name])[name].params


@pytest.fixture
def other(tiny_dict):
  """A run of another seed, which has no stage before joint."""
  tiny_dict |= {'seed': 1, 'stages': ('joint',)}
  tiny_dict['evaluation']['checks'] = 0
  tiny_dict['joint'] |= dict(steps=1, refiner_rows=0)  # the refiner rests: handed on as it came
  return tiny_dict


@pytest.mark.long
def test_a_stage_goes_on_from_another_run(other, finished, tmp_path):
  other['init_from'] = (f'joint={finished}',)
  mesh = sharding.make_mesh(-1, 1)
  run.train_stages(other, tmp_path)
  networks = ('denoiser', 'generator', 'critic')
  ended = [_begun(finished, mesh, 'joint', name) for name in networks]
  went_on = [_begun(tmp_path, mesh, 'joint', name) for name in networks]
  jax.tree.map(np.testing.assert_array_equal, ended[0], went_on[0])
  for old, new in zip(ended[1:], went_on[1:]):  # one step from there
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), old, new)
    assert 0 < max(jax.tree.leaves(apart)) < 0.01


def test_once_it_has_begun_the_other_run_may_go(other, finished, tmp_path, untaught):
  shutil.copytree(finished, tmp_path / 'other')
  other['init_from'] = (f'joint={tmp_path / "other"}',)
  run.train_stages(other, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'other')
  other['joint']['steps'] = 2
  run.train_stages(other, tmp_path / 'run')


def test_with_what_another_stage_there_ended_with(other, finished, tmp_path, untaught):
  other |= {'stages': ('diffusion',), 'init_from': (f'diffusion={finished}:joint',)}
  mesh = sharding.make_mesh(-1, 1)
  run.train_stages(other, tmp_path)
  ended = _begun(finished, mesh, 'joint', 'denoiser')
  jax.tree.map(
    np.testing.assert_array_equal, ended, _begun(tmp_path, mesh, 'diffusion', 'denoiser')
  )


def test_one_denoiser_serves_the_drafts_of_all_families(other, finished, tmp_path, untaught):
  """Until it is told their latents, which those of another family do not fit."""
  sizes = dict(content_size=4, motion_size=3, width=4, critic_width=4)
  other['draft'] = {'name': 'mocogan', 'noise': 0.1, 'init_deviation': 0.0, **sizes}
  other |= {'stages': ('diffusion',), 'init_from': (f'diffusion={finished}',)}
  mesh = sharding.make_mesh(-1, 1)
  run.train_stages(other, tmp_path / 'run')
  ended = _begun(finished, mesh, 'diffusion', 'denoiser')
  begun = _begun(tmp_path / 'run', mesh, 'diffusion', 'denoiser')
  assert begun['latents_in']['kernel'].shape[0] == 7 != ended['latents_in']['kernel'].shape[0]
  late = workdirs.read_config(finished).denoiser.late
  learnt = lambda params: {n: leaf for n, leaf in params.items() if not n.startswith(late)}
  jax.tree.map(np.testing.assert_array_equal, learnt(ended), learnt(begun))
  other['init_from'] = (f'diffusion={finished}:joint',)
  with pytest.raises(ValueError, match=r'denoiser does not fit: \S+/latents_in/kernel is \(8,'):
    run.train_stages(other, tmp_path / 'refused')


@pytest.mark.parametrize(
  ('entry', 'change', 'says'),
  [
    ('joint', {}, "config.init_from='joint': want SOURCE, STAGE=SOURCE or STAGE=SOURCE:STAGE"),
    ('gan={}', {}, 'a stage of stages'),
    ('joint=nowhere', {}, 'nowhere: no such workdir of a run, nor file of weights'),
    ('nowhere', {}, 'nowhere: no such workdir of a run, nor file of weights'),
    ('joint={}:refine', {}, "no stage 'refine'; there are gan, diffusion, aligner, joint, fewstep"),
    (
      'joint={}',
      {'denoiser': {'width': 16}},
      r'its denoiser does not fit: .* is \(.*\) and not \(.*\), .*, and \d+ more',
    ),
  ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
  other, finished, tmp_path, entry, change, says
):
  for section, values in change.items():
    other[section] |= values
  other['init_from'] = (entry.format(finished),)
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    run.train_stages(other, tmp_path / 'run')
  assert re.search(says, str(caught.value)) and '\n' not in str(caught.value)
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_a_stage_there_that_has_not_all_is_not_enough(other):
  other['init_from'] = ('joint=gs://bucket/run:diffusion',)
  with pytest.raises(ValueError, match='joint takes the generator over; put gan before it'):
    settings.build(settings.Config, other)
  other['init_from'] = ('joint=gs://bucket/run',)  # its joint
  assert settings.donor_of('joint', settings.build(settings.Config, other).init_from) == (
    'gs://bucket/run',
    'joint',
  )


def test_without_it_a_stage_wants_those_before_it(other):
  with pytest.raises(ValueError, match='joint takes the generator over; put gan before it'):
    settings.build(settings.Config, other)
