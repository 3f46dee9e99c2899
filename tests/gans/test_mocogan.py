"""MoCoGAN: what it claims, and that it is the published network."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import zoo
from hgdt_jax import settings
from hgdt_jax.gans import mocogan
from hgdt_jax.space import Space
from hgdt_jax.stages import STAGES, networks

B, T, S, K = 4, 8, 32, 3
CONTENT, MOTION = 5, 4
SETTINGS = mocogan.Settings(
  name='mocogan',
  content_size=CONTENT,
  motion_size=MOTION,
  width=4,
  critic_width=4,
  noise=0.5,
  init_deviation=0.0,
)
LABEL, LEVEL = jnp.array([0, 2, 1, 0]), jnp.zeros(B)


def make(classes=K, **changes):
  settings = mocogan.Settings(**{**vars(SETTINGS), **changes})
  return mocogan.make(settings, Space(T, S, 3), classes=classes, dtype=jnp.float32)


@pytest.fixture(scope='module')
def gan():
  return make()


@pytest.fixture(scope='module')
def codes(gan):
  return gan.codes(jax.random.key(0), B, T)


@pytest.fixture(scope='module')
def variables(gan, codes):
  return jax.jit(gan.generator.init)(jax.random.key(1), codes, LABEL)


@pytest.fixture(scope='module')
def critics(gan):
  """(network, variables, view) by name."""
  video = jax.random.uniform(jax.random.key(2), (B, T, S, S, 3), minval=-1.0)
  found = {}
  for name, view in {'image': video[:, 0], 'video': video}.items():
    network = gan.judges[name].network
    found[name] = network, jax.jit(network.init)(jax.random.key(3), view, LEVEL, LABEL), view
  return found


@pytest.fixture(scope='module')
def draw(gan, variables):
  """Codes -> draft, as it samples."""
  apply = jax.jit(lambda codes, label: gan.generator.apply(variables, codes, label))
  return lambda codes, label=LABEL: jax.device_get(apply(codes, label))


def apart(a, b):
  """Largest difference by clip and frame, `[B, T]`."""
  return np.abs(a - b).max(axis=tuple(range(2, a.ndim)))


def test_content_stands_still_and_motion_does_not(codes, draw):
  draft = draw(codes)
  assert draft.clip.shape == (B, T, S, S, 3) and np.abs(draft.clip).max() <= 1
  content, motion = np.split(draft.latents, [CONTENT], axis=-1)
  np.testing.assert_array_equal(content, np.repeat(codes['content'][:, None], T, axis=1))
  assert apart(motion[:, 1:], motion[:, :-1]).min() > 1e-3
  other = draw(codes | {'content': -codes['content']})
  np.testing.assert_array_equal(other.latents[..., CONTENT:], motion)
  assert apart(other.clip, draft.clip).min() > 1e-3  # in all frames


def test_motion_is_what_a_recurrent_network_makes_of_its_noise(codes, variables, draw):
  """Cho et al. 2014, with the reset gate behind the recurrent product, as PyTorch has it."""
  p, codes = jax.tree.map(np.asarray, (variables['params']['motion'], codes))
  dense = lambda name, x: x @ p[name]['kernel'] + p[name].get('bias', 0.0)
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  state, want = codes['start'], []
  for e in np.moveaxis(codes['motion'], 1, 0):
    reset = sigmoid(dense('ir', e) + dense('hr', state))
    update = sigmoid(dense('iz', e) + dense('hz', state))
    new = np.tanh(dense('in', e) + reset * dense('hn', state))
    state = (1 - update) * new + update * state
    want.append(state)
  got = draw(codes).latents[..., CONTENT:]  # statistics are those of a unit normal still
  np.testing.assert_allclose(got, np.stack(want, axis=1) / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_nothing_moves_but_by_the_noise_and_it_moves_what_follows(codes, draw):
  clip = draw(codes).clip
  later = codes | {'motion': codes['motion'].at[:, 5].add(1.0)}
  moved = apart(draw(later).clip, clip)
  assert moved[:, :5].max() == 0 < moved[:, 5:].min()
  start = apart(draw(codes | {'start': -codes['start']}).clip, clip)
  assert start[:, 0].min() > 0


def test_a_longer_clip_goes_on_from_a_shorter_one(gan, draw):
  long = gan.codes(jax.random.key(4), B, T + 5)
  assert long['motion'].shape == (B, T + 5, MOTION)
  short = long | {'motion': long['motion'][:, :T]}
  for first, all_of_it in zip(draw(short)[:2], draw(long)[:2]):
    np.testing.assert_allclose(first, all_of_it[:, :T], atol=1e-6)
  last = draw(long).clip
  assert apart(last[:, 1:], last[:, :-1]).min() > 0


def test_latents_are_of_unit_variance(gan, variables, codes):
  apply = jax.jit(gan.generator.apply, static_argnames=('train', 'mutable'))
  variables = jax.tree.map(lambda leaf: 3.0 * leaf, jax.device_get(variables))
  draft, _ = apply(variables, codes, LABEL, train=True, mutable='batch_stats')
  latents = np.asarray(draft.latents)
  motion = latents[..., CONTENT:].reshape(-1, MOTION)
  np.testing.assert_allclose(motion.mean(axis=0), np.zeros(MOTION), atol=1e-5)
  np.testing.assert_allclose(motion.var(axis=0), np.ones(MOTION), rtol=1e-2)
  assert latents.shape[-1] == SETTINGS.latent_size
  drawn = jax.device_get(gan.codes(jax.random.key(5), 2000, 2))
  for name, code in drawn.items():
    assert abs(code.mean()) < 0.05 and abs(code.std() - 1) < 0.05, name


def test_a_clip_is_of_its_category_and_without_classes_of_none(codes, draw):
  clips = [draw(codes, jnp.full(B, label)).clip for label in (-1, 0, 1, 2)]
  for i in range(4):
    assert all(apart(clips[i], clips[j]).min() > 1e-4 for j in range(i))
  gan = make(classes=0)
  variables = jax.jit(gan.generator.init)(jax.random.key(1), codes, LABEL)
  assert variables['params']['seed']['kernel'].shape[0] == CONTENT + MOTION
  apply = jax.jit(gan.generator.apply)
  drawn = [apply(variables, codes, label).clip for label in (LABEL, LABEL - 1)]
  np.testing.assert_array_equal(*drawn)
  assert not any(judge.category for judge in gan.judges.values())
  network, view = gan.judges['video'].network, drawn[0]
  logits, _ = jax.jit(network.init_with_output)(jax.random.key(3), view, LEVEL, LABEL)
  assert logits.shape == (B,)


def test_critics_judge_patches_and_clips_and_only_the_latter_tell_categories(gan, critics):
  answer = lambda network, variables, view: jax.jit(network.apply)(variables, view, LEVEL, LABEL)
  assert answer(*critics['image']).shape == (B, 4, 4)
  shapes = jax.tree.map(jnp.shape, answer(*critics['video']))
  assert shapes == {'real': (B,), 'category': (B, K)}
  assert {name: judge.category for name, judge in gan.judges.items()} == {'image': 0, 'video': 1}
  assert {judge.objective for judge in gan.judges.values()} == {'nonsaturating'}


@pytest.mark.parametrize(('frames', 'seen'), [(6, 6), (16, 16), (20, 16)])
def test_what_critics_see_is_drawn_anew_for_each_clip_and_for_real_and_fake(gan, frames, seen):
  """Frame t of clip b is 100 b + t all over."""
  clips = 1000
  number = 100.0 * np.arange(clips, dtype=np.float32)[:, None] + np.arange(frames)[None]
  video = np.float32(number)[..., None, None, None]
  streams = lambda name: jax.random.fold_in(jax.random.key(6), sum(map(ord, name)))

  @jax.jit
  def see(video):
    pairs = itertools.product(('image', 'video'), ('real', 'fake'))
    return {
      (name, which): gan.judges[name].see(streams, which, video, None) for name, which in pairs
    }

  views = {pair: view[..., 0, 0, 0] for pair, view in jax.device_get(see(video)).items()}
  at, start = {}, {}
  for which in ('real', 'fake'):
    at[which], view = views['image', which] - number[:, 0], views['video', which]
    assert view.shape == (clips, seen) and (np.diff(view, axis=1) == 1).all()
    start[which] = view[:, 0] - number[:, 0]
    assert set(at[which]) == set(range(frames))
    assert set(start[which]) == set(range(frames - seen + 1))
  assert (at['real'] != at['fake']).mean() > 0.7
  assert frames == seen or (start['real'] != start['fake']).mean() > 0.7


def test_weights_begin_as_pytorchs_or_normal(codes):
  """Those of the last layer of the generator: within 1 / sqrt(3 outputs of 4x4), or normal."""

  def kernel(gan):
    params = jax.jit(gan.generator.init)(jax.random.key(1), codes, LABEL)['params']
    return np.asarray(params['out']['kernel'])

  assert 0.9 < np.abs(kernel(make())).max() * np.sqrt(3 * 4 * 4) <= 1
  assert kernel(make(init_deviation=0.02)).std() == pytest.approx(0.02, rel=0.2)


NOISY = {
  'image': [(B, 32, 32, 3), (B, 16, 16, 4), (B, 8, 8, 8)],
  'video': [(B, 8, 32, 32, 3), (B, 7, 16, 16, 4), (B, 6, 8, 8, 8)],
}


@pytest.mark.parametrize('name', NOISY)
def test_noise_is_on_what_strided_convolutions_are_given(critics, name, monkeypatch):
  """All of them, in training; not on what the last layer of the video critic is given."""
  network, variables, view = critics[name]
  drawn, normal = [], jax.random.normal
  noted = lambda key, shape, dtype: drawn.append(shape) or normal(key, shape, dtype)
  monkeypatch.setattr(jax.random, 'normal', noted)
  network.apply(variables, view, LEVEL, LABEL)
  assert not drawn
  rngs = {'noise': jax.random.key(0)}
  network.apply(variables, view, LEVEL, LABEL, True, rngs=rngs, mutable='batch_stats')
  assert drawn == NOISY[name]


@pytest.mark.parametrize('name', NOISY)
def test_noise_is_as_loud_as_asked_for(critics, name):
  network, variables, view = critics[name]

  @functools.partial(jax.jit, static_argnums=1)
  def answer(key, noise):
    options = dict(train=True, rngs={'noise': key}, mutable='batch_stats')
    logits, _ = network.clone(noise=noise).apply(variables, view, LEVEL, LABEL, **options)
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(logits)])

  difference = lambda noise: np.subtract(*(answer(jax.random.key(i), noise) for i in range(2)))
  apart = [np.abs(difference(noise)).mean() for noise in (0.0, 0.01, 0.1)]
  assert apart[0] == 0 and 5 < apart[2] / apart[1] < 20


def test_every_parameter_gets_a_gradient(gan, variables, codes, critics):
  weight = jax.random.normal(jax.random.key(7), (B, T, S, S, 3))

  def drawn(params):
    given = variables | {'params': params}
    draft, _ = gan.generator.apply(given, codes, LABEL, train=True, mutable='batch_stats')
    return jnp.sum(weight * draft.clip)

  found = {'generator': jax.jit(jax.grad(drawn))(variables['params'])}
  for name, (network, first, view) in critics.items():

    def score(params, network=network, first=first, view=view):
      options = dict(train=True, mutable='batch_stats', rngs={'noise': jax.random.key(8)})
      logits, _ = network.apply(first | {'params': params}, view, LEVEL, LABEL, **options)
      return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(logits))

    found[name] = jax.jit(jax.grad(score))(first['params'])
  for player, gradients in found.items():
    for path, g in jax.tree_util.tree_leaves_with_path(gradients):
      assert np.abs(g).max() > 1e-7, player + jax.tree_util.keystr(path)


def test_statistics_of_batches_are_kept_and_used_at_sampling(gan, variables, codes, critics, draw):
  players = {'generator': (gan.generator, variables, (codes, LABEL))}
  for name, (network, first, view) in critics.items():
    players[name] = network, first, (view, LEVEL, LABEL)
  for name, (network, first, given) in players.items():
    apply = jax.jit(network.apply, static_argnames=('train', 'mutable'))
    rngs = {'noise': jax.random.key(8)}
    _, changed = apply(first, *given, train=True, mutable='batch_stats', rngs=rngs)
    before, after = jax.device_get((first['batch_stats'], changed['batch_stats']))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
    assert len(moved) == {'generator': 4, 'image': 1, 'video': 2}[name]
    assert min(jax.tree.leaves(moved)) > 0, name
  one = jax.tree.map(lambda code: code[:1], codes)
  for alone, together in zip(draw(one, LABEL[:1])[:2], draw(codes)[:2]):
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


@pytest.mark.parametrize('padding', [0, 1])
def test_frames_side_by_side_make_a_3d_convolution(padding):
  """Kernels of 4 in time and space, strided in space, as the original writes them."""
  keys = jax.random.split(jax.random.key(9))
  x, kernel = (
    jax.random.normal(keys[0], (2, 7, 8, 8, 3)),
    jax.random.normal(keys[1], (4, 4, 4, 3, 5)),
  )

  @jax.jit
  def plain(x, kernel):
    pad = [(padding, padding), (1, 1), (1, 1)]
    order = ('NDHWC', 'DHWIO', 'NDHWC')
    return jax.lax.conv_general_dilated(x, kernel, (1, 2, 2), pad, dimension_numbers=order)

  @jax.jit
  def side_by_side(x, kernel):
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(4, 4, 12, 5)
    folded = mocogan.quads(x, padding).reshape(-1, 8, 8, 12)
    order = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(folded, flat, (2, 2), 'SAME', dimension_numbers=order)

  want, got = plain(x, kernel), side_by_side(x, kernel)
  np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-4)


def test_weights_decay_within_adam():
  """A weight without a gradient goes by the rate towards zero: Adam scales the decay as well."""
  tx, params = mocogan.optimiser(0.1, 0, 10), {'w': jnp.array([3.0, -0.5])}
  step, _ = jax.jit(tx.update)({'w': jnp.zeros(2)}, jax.jit(tx.init)(params), params)
  np.testing.assert_allclose(step['w'], [-0.1, 0.1], rtol=1e-2)


def test_it_is_the_published_network():
  """Kernels by layer (its code), and 3.30, .66 and 11.25 million weights with six categories.

  Four frames side by side stand for a kernel's four taps in time.
  """
  given = zoo.get_config('mocogan').to_dict()
  given['data']['classes'] = 6
  cfg = settings.build(settings.Config, given)
  state = jax.eval_shape(lambda key: STAGES['gan'].init(cfg, key), jax.random.key(0))
  count = {
    name: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(net.params))
    for name, net in state.nets.items()
  }
  millions = {name: round(number / 1e6, 2) for name, number in count.items()}
  assert millions == {'generator': 3.30, 'image': 0.66, 'video': 11.25}
  kernels = lambda name: sorted(
    leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.nets[name].params)
    if jax.tree_util.keystr(path).endswith("['kernel']")
  )
  assert kernels('generator') == sorted(
    [
      *6 * [(10, 10)],
      *((66, 4 * 4 * 512), (4, 4, 512, 256), (4, 4, 256, 128), (4, 4, 128, 64), (4, 4, 64, 3)),
    ]
  )
  assert kernels('image') == sorted(
    [(4, 4, 3, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 1)]
  )
  assert kernels('video') == sorted(
    [
      *((4, 4, 4 * 3, 64), (4, 4, 4 * 64, 128), (4, 4, 4 * 128, 256), (4, 4, 4 * 256, 512)),
      (4 * 4 * 4 * 512, 1 + 6),
    ]
  )
  gan = networks.make(cfg).gan
  codes = jax.eval_shape(lambda key: gan.codes(key, 2, 16), jax.random.key(0))
  variables = state.nets['generator'].variables()
  draft = jax.eval_shape(gan.generator.apply, variables, codes, jnp.zeros(2, jnp.int32))
  assert draft.clip.shape == (2, 16, 64, 64, 3) and draft.latents.shape == (2, 16, 60)
  assert (cfg.gan.learning_rate, cfg.gan.steps, cfg.data.batch) == (2e-4, 100_000, 32)
  assert (cfg.data.stride, cfg.draft.noise) == (2, 0.1)


@pytest.mark.parametrize('stage', ['gan', 'aligner', 'joint'])
def test_stages_take_it_with_its_latents_and_categories(tiny_dict, stage):
  tiny_dict['draft'] = vars(SETTINGS)
  cfg = settings.build(
    settings.Config, tiny_dict | {'stages': ('gan', 'diffusion', 'aligner', 'joint')}
  )
  assert cfg.bridges and cfg.draft.latent_size == CONTENT + MOTION
  state = jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))
  video = np.zeros((cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3), np.uint8)
  batch = {'video': video, 'label': np.zeros(cfg.data.batch, np.int32)}
  after, metrics = jax.eval_shape(STAGES[stage].make_step(cfg), state, batch, jax.random.key(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)
  if stage != 'aligner':
    assert {f'{stage}/d_category', f'{stage}/g_category'} <= metrics.keys()


def test_clips_too_short_to_be_judged_are_refused_in_a_line():
  given = zoo.get_config('mocogan,small').to_dict()
  given['data'] |= dict(frames=4, size=64)
  says = (
    r'^config\.draft\.name=mocogan: data\.frames=4 must be above 4, for the video critic halves'
  )
  with pytest.raises(ValueError, match=says) as caught:
    settings.build(settings.Config, given)
  assert '\n' not in str(caught.value)
