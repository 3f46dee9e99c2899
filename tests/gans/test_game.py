"""The game with any number of judges: what each sees, is trained by and keeps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hgdt_jax.gans import game
from hgdt_jax.gans.types import Draft, Judge
from hgdt_jax.state import Net

B, T, S = 4, 4, 4
REAL = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
LABEL, LEVEL = jnp.zeros(B, jnp.int32), jnp.zeros(B)


class Painter(nn.Module):
  """Codes -> a draft with a mask; keeps the statistics of its batches."""

  @nn.compact
  def __call__(self, codes, label, given=None, train=False):
    h = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(8)(codes))
    clip = jnp.tanh(nn.Dense(T * S * S * 3)(h)).reshape(-1, T, S, S, 3)
    mask = nn.sigmoid(nn.Dense(1)(h))
    return Draft(clip, aux={'mask': mask})


class Critic(nn.Module):
  """A row of logits a clip; with batch norm, or noise on what it sees."""

  logits: int = 1
  norm: bool = False
  noise: float = 0.0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, view, t, label, train):
    x = view.reshape(len(view), -1)
    if self.noise and train:
      x += self.noise * jax.random.normal(self.make_rng('noise'), x.shape)
    x = nn.Dense(8)(x)
    if self.norm:
      x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
    return nn.Dense(self.logits)(jnp.tanh(x))


class Classifier(nn.Module):
  """Logits of a clip, and of the three classes that it may be of."""

  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, view, t, label, train):
    x = view.reshape(len(view), -1)
    return {'clip': nn.Dense(2)(x), 'category': nn.Dense(3)(x)}


WHOLE = lambda streams, which, clip, given: clip
FIRST = lambda streams, which, clip, given: clip[:, 0]


def judge(see=WHOLE, objective='hinge', network=None, **options):
  return Judge(network or Critic(), see, objective, **options)


def played(
  judges, *, rate=0.1, also=None, step=0, label=LABEL, hide=lambda which, clip: clip, **options
):
  """(nets before, nets after, draft, metrics) of one round."""
  streams = lambda name: jax.random.fold_in(
    jax.random.fold_in(jax.random.key(1), step), sum(map(ord, name))
  )
  painter, codes = Painter(), jax.random.normal(jax.random.key(2), (B, 5))
  txs = dict.fromkeys(['generator', *judges], optax.sgd(rate))
  variables = painter.init(jax.random.key(3), codes, LABEL)
  nets = {'generator': Net.create(variables, txs['generator'])}
  for name, one in judges.items():
    view = one.see(streams, 'real', REAL, None)
    rngs = {'params': jax.random.key(4), 'noise': jax.random.key(5)}
    variables = one.network.init(rngs, view, LEVEL, LABEL, True)
    nets[name] = game.init_judge(one, variables, txs[name], jax.random.key(6))
  generator = nets['generator']
  draw = lambda params: generator.apply(painter, codes, label, params=params, train=True)
  scene = game.Scene(REAL, label, LEVEL, None, streams, hide)
  again = lambda i: jax.random.normal(jax.random.key(10 + i), REAL.shape)
  after, draft, metrics = game.play(
    judges, nets, txs, scene, draw=draw, decay=0.5, also=also, again=again, **options
  )
  return nets, after, draft, metrics


def moved(before, after):
  leaves = [jax.tree.leaves(jax.device_get(tree)) for tree in (before, after)]
  return max(np.abs(a - b).max() for a, b in zip(*leaves, strict=True))


def test_judges_of_different_objectives_and_views_all_move_and_move_the_generator():
  judges = {
    'image': judge(FIRST, 'least_squares', Critic(logits=4)),
    'video': judge(WHOLE, 'nonsaturating'),
  }
  before, after, _, metrics = played(judges)
  assert after.keys() == before.keys()
  for name in before:
    assert moved(before[name].params, after[name].params) > 1e-5, name
  for key in ('d_loss', 'penalty', 'd_grad_norm', 'real_score', 'fake_score'):
    each = [metrics[f'{key}_{name}'] for name in judges]
    together = sum(each) / (1 if key in ('d_loss', 'penalty') else 2)
    np.testing.assert_allclose(metrics[key], together, rtol=1e-6)


def test_what_a_judge_does_not_see_does_not_move_it():
  """One that sees first frames judges two clips alike that differ later."""
  later = REAL.at[:, 1:].add(1.0)
  rounds = []
  for real in (REAL, later):
    show = lambda which, clip, real=real: real if which == 'real' else clip
    rounds.append(played({'image': judge(FIRST), 'video': judge(WHOLE)}, hide=show)[1])
  same = lambda name: moved(rounds[0][name].params, rounds[1][name].params)
  assert same('image') == 0 < same('video')


def test_a_judge_that_weighs_nothing_does_not_move_the_generator():
  alone = played({'video': judge(WHOLE)})[1]
  both = played({'video': judge(WHOLE), 'image': judge(FIRST, weight=0.0)})[1]
  assert moved(alone['generator'].params, both['generator'].params) < 1e-6
  more = played({'video': judge(WHOLE), 'image': judge(FIRST, weight=2.0)})[1]
  assert moved(alone['generator'].params, more['generator'].params) > 1e-5


def test_further_losses_reach_the_generator_through_clip_and_aux():
  also = {'mask': lambda draft, real, given: 5.0 * jnp.mean(draft.aux['mask'])}
  judges = {'video': judge()}
  _, plain, _, unmoved = played(judges)
  _, after, draft, metrics = played(judges, also=also)
  np.testing.assert_allclose(metrics['g_mask'], 5.0 * draft.aux['mask'].mean(), rtol=1e-6)
  assert 'g_mask' not in unmoved
  mask = lambda nets: nets['generator'].params['Dense_2']
  assert moved(mask(plain), mask(after)) > 1e-4  # no judge sees it
  np.testing.assert_allclose(metrics['g_loss'], unmoved['g_loss'], rtol=1e-6)


def test_batch_statistics_of_all_players_are_kept_and_real_and_fake_are_batches_of_their_own():
  judges = {'video': judge(network=Critic(norm=True))}
  before, after, draft, _ = played(judges)
  for name in ('generator', 'video'):
    assert moved(before[name].kept, after[name].kept) > 1e-4, name
    assert after[name].handed_on.variables().keys() == {'params', 'batch_stats'}
  # Two updates with momentum one half, from the mean 0: the real batch counts a quarter, then fake.
  dense, means = jax.device_get(before['video'].params['Dense_0']), []
  for clip in jax.device_get((REAL, draft.clip)):
    means.append(np.mean(clip.reshape(B, -1) @ dense['kernel'], axis=0) + dense['bias'])
  want = 0.25 * means[0] + 0.5 * means[1]
  got = after['video'].kept['batch_stats']['BatchNorm_0']['mean']
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_noise_inside_a_judge_differs_from_step_to_step():
  judges = {'video': judge(network=Critic(noise=1.0))}
  first, other = (played(judges, step=step)[3]['d_loss'] for step in (0, 1))
  assert first != other
  assert first == played(judges, step=0)[3]['d_loss']
  quiet = {'video': judge()}
  assert played(quiet, step=0)[3]['d_loss'] == played(quiet, step=1)[3]['d_loss']


def test_further_updates_are_against_other_drafts():
  once, twice = (played({'video': judge(updates=n)}) for n in (1, 2))
  net = once[1]['video']
  assert moved(once[1]['video'].params, twice[1]['video'].params) > 1e-5
  # The second by hand: hinge, a gradient step on the real clips and the second drafts.
  fake = jax.random.normal(jax.random.key(11), REAL.shape)
  network = Critic()

  def loss(params):
    score = lambda clip: network.apply({'params': params}, clip, LEVEL, LABEL, True)
    return jnp.mean(nn.relu(1 - score(REAL))) + jnp.mean(nn.relu(1 + score(fake)))

  want = jax.tree.map(lambda p, g: p - 0.1 * g, net.params, jax.grad(loss)(net.params))
  assert moved(want, twice[1]['video'].params) < 1e-6


def test_parameters_are_projected_after_each_update():
  clip = lambda params: jax.tree.map(lambda leaf: jnp.clip(leaf, -0.01, 0.01), params)
  _, after, _, _ = played({'video': judge(objective='wasserstein', project=clip)})
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(after['video'].params))
  assert largest <= 0.01


@pytest.mark.parametrize('kind', ['r1', 'r2', 'interpolation'])
def test_each_judge_has_penalties_of_its_own(kind):
  judges = {'image': judge(FIRST), 'video': judge(WHOLE, **{kind: 1.0})}
  metrics = played(judges)[3]
  assert metrics['penalty_image'] == 0 < metrics['penalty_video'] == metrics['penalty']


def test_a_penalty_is_of_what_a_judge_sees_of_the_clip():
  """The gradient with respect to the whole clip of one that sees first frames."""
  network = Critic()
  before, _, _, metrics = played({'image': judge(FIRST, network=network, r1=2.0)})
  variables = before['image'].variables()
  score = lambda clip: jnp.sum(network.apply(variables, clip[:, 0], LEVEL, LABEL, True))
  squared = jnp.sum(jax.grad(score)(REAL) ** 2, axis=(1, 2, 3, 4))
  np.testing.assert_allclose(metrics['penalty'], jnp.mean(squared), rtol=1e-5)


def test_the_generator_answers_the_judges_as_they_are_after_their_move():
  judges = {'video': judge(WHOLE, 'hinge')}
  _, after, draft, metrics = played(judges)
  score = Critic().apply(after['video'].variables(), draft.clip, LEVEL, LABEL, True)
  np.testing.assert_allclose(metrics['g_loss'], -score.mean(), rtol=1e-5)


def surprise(classifier, params, clip, label):
  """Mean of -log p(label) over the rows with one."""
  told = jax.nn.log_softmax(
    classifier.apply({'params': params}, clip, None, None, True)['category']
  )
  return -sum(told[row, label[row]] for row in range(B) if label[row] >= 0) / sum(label >= 0)


@pytest.mark.parametrize('label', [(0, 2, 1, 1), (2, -1, 0, -1)])
def test_a_judge_learns_categories_on_real_clips_and_the_generator_draws_its_own(label):
  label, network = np.array(label), Classifier()
  judges = {'video': judge(network=network, category=3.0, weight=0.5)}
  before, after, draft, metrics = played(judges, label=jnp.array(label))
  was, now = (nets['video'].params for nets in (before, after))

  def loss(params):
    score = lambda clip: network.apply({'params': params}, clip, None, None, True)['clip']
    game = jnp.mean(nn.relu(1 - score(REAL))) + jnp.mean(nn.relu(1 + score(draft.clip)))
    return game + 3.0 * surprise(network, params, REAL, label)

  step = jax.tree.map(lambda p, g: p - 0.1 * g, was, jax.grad(loss)(was))
  assert moved(step, now) < 1e-5
  d_category = 3.0 * surprise(network, was, REAL, label)
  np.testing.assert_allclose(metrics['d_category'], d_category, rtol=1e-5)
  np.testing.assert_allclose(metrics['d_loss'], loss(was) - d_category, rtol=1e-4)
  g_category = 0.5 * 3.0 * surprise(network, now, draft.clip, label)
  np.testing.assert_allclose(metrics['g_category'], g_category, rtol=1e-5)


def test_the_generators_loss_is_the_game_and_the_category_of_its_drafts():
  """Before a judge that knows real from drawn by nothing, the category alone moves it."""
  network, label = Classifier(), np.array((0, 2, -1, 1))
  still = lambda params: params | {'Dense_0': jax.tree.map(jnp.zeros_like, params['Dense_0'])}
  judges = {'video': judge(network=network, category=3.0, project=still)}
  before, after, _, metrics = played(judges, label=jnp.array(label))
  painter, codes = Painter(), jax.random.normal(jax.random.key(2), (B, 5))
  net = before['generator']

  def loss(params):
    draft, _ = net.apply(painter, codes, None, params=params, train=True)
    return 3.0 * surprise(network, after['video'].params, draft.clip, label)

  was = net.params
  step = jax.tree.map(lambda p, g: p - 0.1 * g, was, jax.grad(loss)(was))
  assert moved(step, after['generator'].params) < 1e-5 < moved(was, step)
  assert metrics['g_loss'] == 0


def test_without_labels_there_is_nothing_to_classify():
  judges = {'image': judge(FIRST), 'video': judge(network=Classifier(), category=3.0)}
  before, after, _, metrics = played(judges, label=jnp.full(B, -1))
  assert metrics['d_category'] == metrics['d_category_video'] == metrics['g_category'] == 0
  assert 'd_category_image' not in metrics
  head = lambda nets: nets['video'].params['Dense_1']
  assert moved(head(before), head(after)) == 0
  assert not any('category' in name for name in played({'image': judge(FIRST)})[3])


def test_penalties_are_of_what_it_takes_for_real_alone():
  network = Classifier()
  before, _, _, metrics = played({'video': judge(network=network, category=3.0, r1=2.0)})
  kernel = before['video'].params['Dense_0']['kernel']  # the mean of two linear logits
  squared = jnp.sum(jnp.mean(kernel, axis=1) ** 2)
  np.testing.assert_allclose(metrics['penalty'], squared, rtol=1e-5)
