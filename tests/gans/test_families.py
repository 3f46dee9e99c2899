"""A family of GANs that is no part of the package: docs/extending.md's, as it stands."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import zoo
from hgdt_jax import checkpoint, handed_on, run, settings, sharding, trained
from hgdt_jax.stages import STAGES, adversarial, networks
from hgdt_jax.state import Net

ALIGNED = ('gan', 'diffusion', 'aligner')


@pytest.fixture
def painter(files, tiny_dict):
  """The smallest configuration with that family."""
  tiny_dict['plugins'] = ('painter',)
  tiny_dict['draft'] = {'name': 'painter', 'width': 8, 'code_size': 4}
  tiny_dict['aligner']['latents'] = 'none'
  tiny_dict['gan']['steps'] = 4
  tiny_dict['stages'] = ('gan', 'diffusion')
  tiny_dict['evaluation'] |= dict(checks=0, evaluations=(), taus=(0.5,))
  return tiny_dict


@pytest.mark.long
def test_it_trains_is_refined_scored_and_shown(painter, tmp_path):
  run.main(painter, tmp_path / 'run')
  rows = json.loads((tmp_path / 'run' / 'results.json').read_text())['results']
  assert [row['method'] for row in rows] == [
    'real',
    'gan',
    'diffusion_frames',
    'diffusion',
    'hybrid',
  ]
  model = trained.Trained.load(tmp_path / 'run')
  drawn = model.draw('hybrid', np.zeros(4, int), 0, steps=1, tau=0.5)
  assert drawn.shape == (4, 4, 16, 16, 3)
  assert (drawn != model.draw('gan', np.zeros(4, int), 0, steps=0, tau=0.0)).any()
  logged = [
    json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  ]
  last = [row for row in logged if row['stage'] == 'gan' and 'gan/d_loss' in row][-1]
  assert {'gan/d_loss_image', 'gan/d_loss_video', 'gan/g_loudness'} <= last.keys()
  assert 'painter' in (tmp_path / 'run' / 'config.json').read_text()
  assert (tmp_path / 'run' / 'report' / 'index.html').exists()


@pytest.mark.parametrize('stage', ['aligner', 'joint'])
def test_the_stages_after_it_take_it_as_it_is(painter, stage):
  painter['stages'] = ('gan', 'diffusion', 'aligner', 'joint')
  cfg = settings.build(settings.Config, painter)
  state = jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))
  video = np.zeros((cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3), np.uint8)
  batch = {'video': video, 'label': np.zeros(cfg.data.batch, np.int32)}
  after, _ = jax.eval_shape(STAGES[stage].make_step(cfg), state, batch, jax.random.key(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert cfg.starts_from('joint').keys() == {'generator', 'image', 'video', 'denoiser'}


PUBLISHED = {
  'vgan': dict(code_size=4, width=4, critic_width=4),
  'mocogan': dict(content_size=4, motion_size=4, width=4, critic_width=4),
  'imaginator': dict(
    code_size=4, appearance_size=4, width=4, time_widths=(8, 8, 4), critic_width=4
  ),
}


@pytest.mark.parametrize('family', ['painter', *PUBLISHED])
@pytest.mark.long
def test_it_resumes_bit_for_bit_with_what_no_gradient_reaches(painter, tmp_path, family):
  if family in PUBLISHED:
    small = zoo.get_config(f'{family},small').to_dict()['draft']
    painter['draft'] = small | PUBLISHED[family]
  painter['stages'] = ('gan',)
  run.train_stages(painter, tmp_path / 'whole')
  painter['gan']['steps'] = 2
  run.train_stages(painter, tmp_path / 'halves')
  painter['gan']['steps'] = 4
  run.train_stages(painter, tmp_path / 'halves')
  states = [_state(painter, tmp_path / name) for name in ('whole', 'halves')]
  jax.tree.map(np.testing.assert_array_equal, *states)
  kept = states[0].nets['generator'].kept['batch_stats']
  assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(kept)) > 1e-3
  cfg = settings.build(settings.Config, painter)
  assert states[0].nets.keys() == {'generator', *cfg.draft.judges}


def _state(given, workdir):
  cfg, mesh = settings.build(settings.Config, given), sharding.make_mesh(-1, 1)
  with checkpoint.Checkpoints(workdir, 'gan') as checkpoints:
    return checkpoints.restore(handed_on.abstract_state(cfg, 'gan', mesh))[0]


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'draft.width': 1}, 'config.draft.width=1: must be at least 2'),
    ({'draft.r1': 1.0}, 'config.draft.r1: no such field; there are code_size, name, width'),
    ({'data.size': 128}, 'config.draft.width=8: data.size=128 is beyond it'),
    (
      {'aligner.latents': 'clean', 'stages': ALIGNED},
      "drafts of draft.name='painter' have none; choose 'none'",
    ),
    ({'stages': ('gan', 'diffusion', 'fewstep')}, 'fewstep plays with the critics of draft.name='),
  ],
)
def test_a_setting_that_does_not_fit_is_named(painter, change, says):
  for path, value in change.items():
    *sections, name = path.split('.')
    at = painter
    for section in sections:
      at = at[section]
    at[name] = value
  with pytest.raises(ValueError, match=r'^config\.') as caught:
    settings.build(settings.Config, painter)
  assert says in str(caught.value)


def test_a_judge_has_its_share_of_the_stages_rate(painter):
  """Adam's first step is as long as the rate."""
  gan = networks.make(settings.build(settings.Config, painter)).gan
  txs = adversarial.optimisers(gan, 0.1, 0.2, 0, 10)
  ones = {'w': jnp.ones(3)}
  for name, rate in {'generator': 0.1, 'image': 0.1, 'video': 0.2}.items():
    step, _ = txs[name].update(ones, txs[name].init(ones), ones)
    np.testing.assert_allclose(step['w'], -rate, rtol=1e-4)


def test_further_moves_are_against_drafts_of_other_codes(painter):
  cfg = settings.build(settings.Config, painter)
  gan = networks.make(cfg).gan
  net = Net.of(networks.init_generator(cfg, jax.random.key(0)))
  streams = lambda name: jax.random.fold_in(jax.random.key(1), len(name))
  how = adversarial.drafting(gan, net, jnp.zeros(4, jnp.int32), None, streams, cfg.data.frames)
  drawn = [how['draw'](net.params)[0].clip, how['again'](1), how['again'](2)]
  assert drawn[0].shape == drawn[1].shape
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert jnp.abs(drawn[i] - drawn[j]).max() > 1e-3
