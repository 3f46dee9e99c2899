"""Each stage's step: compiled once, sharded, random by step, and in the right direction."""

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hgdt_jax import handed_on, programs, rng, settings, sharding
from hgdt_jax.gans import augment, game, rows, style
from hgdt_jax.gans.types import Draft, Given, Judge
from hgdt_jax.handed_on import abstract_state
from hgdt_jax.stages import (
  STAGES,
  aligner,
  batches,
  denoising,
  fewstep,
  gan,
  joint,
  networks,
)
from hgdt_jax.state import Net, on_mesh

ROOT_KEY = 7


def _batch(cfg, value=None):
  shape = (cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3)
  draw = np.random.default_rng(0).integers(0, 256, shape)
  video = draw if value is None else np.full(shape, value)
  label = np.arange(cfg.data.batch, dtype=np.int32) % cfg.data.classes
  return {'video': video.astype(np.uint8), 'label': label, 'id': label.astype(np.int64)}


def _compiled(cfg, stage, mesh):
  """A first state, and the step for a state, a batch and a key that lie as in a run."""
  like = abstract_state(cfg, stage, mesh)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
  init = jax.jit(lambda key: STAGES[stage].init(cfg, key), out_shardings=shardings)
  whole = sharding.replicated(mesh)
  step = jax.jit(
    on_mesh(STAGES[stage].make_step(cfg), mesh),
    donate_argnums=0,
    in_shardings=(shardings, sharding.batch(mesh), whole),
    out_shardings=(shardings, whole),
  )
  root = jax.eval_shape(jax.random.key, ROOT_KEY)
  return init(jax.random.key(0)), step.lower(like, _batch(cfg), root).compile()


@pytest.fixture(scope='module')
def on_devices(smallest):
  """(configuration, first state, compiled step, mesh) of a stage, on one device or on 4 x 2.

  Every parameter is away from zero, so that each has a gradient, and every optimiser keeps it.
  """
  given = smallest()
  given['data']['batch'] = 16  # two rows a device; the penalty asks for every fourth
  given['draft']['critic']['minibatch_stddev'] = True
  cfg = settings.build(settings.Config, given)

  def of(stage, count):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(sharding, '_SPLIT_FROM_BYTES', 256)
      for module in (style, denoising):
        patch.setattr(module, 'optimiser', lambda *_: optax.sgd(1e-3, momentum=0.9))
      mesh = sharding.make_mesh(4, 2) if count == 8 else _one_device()
      state, step = _compiled(cfg, stage, mesh)
    return cfg, state, step, mesh

  return of


def _one_device():
  return jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('data', 'fsdp'))


def _moved(state):
  """The state with noise on its parameters."""

  def one(leaf):
    leaf = jax.device_get(leaf)
    return leaf + 0.1 * np.random.default_rng(leaf.size).normal(size=leaf.shape).astype(leaf.dtype)

  def net(old):
    return old.replace(params=jax.tree.map(_like(one), old.params))

  return state.replace(nets={name: net(old) for name, old in state.nets.items()})


def _like(change):
  return lambda leaf: jax.device_put(change(leaf), leaf.sharding)


def _gradients(state):
  """Of each network, one vector: what its optimiser has seen in the only step."""
  found = {}
  for name, net in state.nets.items():
    leaves = jax.tree_util.tree_leaves_with_path(net.opt_state)
    kept = [leaf for path, leaf in leaves if '.trace' in jax.tree_util.keystr(path)]
    if kept:
      found[name] = np.concatenate([jax.device_get(leaf).ravel() for leaf in kept])
  return found


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.devices
@pytest.mark.long
def test_one_device_and_eight_give_the_same_gradients_and_move_no_clip(stage, on_devices):
  """Data parallel and parameter sharded, donated, compiled once."""
  gradients, rows = [], []
  for count in (1, 8):
    cfg, first, step, mesh = on_devices(stage, count)
    if count == 8:
      _moves_no_clip(cfg, first, step)
    root = jax.device_put(jax.random.key(ROOT_KEY), sharding.replicated(mesh))
    batch = sharding.put(_batch(cfg), mesh)
    old = _moved(first)
    state, _ = step(old, batch, root)
    gradients.append(_gradients(state))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old) if leaf.size > 1)
    state, metrics = step(state, batch, root)  # refused if its state lay otherwise than the first
    rows.append(jax.device_get(metrics))
  assert any(len(leaf.sharding.spec) for leaf in jax.tree.leaves(state))  # some leaf is split
  one, eight = gradients
  assert one.keys() == eight.keys()
  for name, gradient in one.items():
    apart = np.linalg.norm(eight[name] - gradient) / np.linalg.norm(gradient)
    assert apart < 1e-5, name
  for name, value in rows[0].items():
    np.testing.assert_allclose(rows[1][name], value, rtol=2e-3, atol=2e-4, err_msg=name)


def _moves_no_clip(cfg, state, step):
  """Devices gather parameters, and exchange sums: gradients, metrics, spreads."""
  text = step.as_text()
  whole = {leaf.shape for net in state.nets.values() for leaf in jax.tree.leaves(net.params)}
  assert ' all-reduce(' in text
  for line in text.splitlines():
    assert not re.search(r' (all-to-all|collective-permute|ragged-all-to-all)(-start)?\(', line), (
      line
    )
    if got := re.search(r'= (.*) all-gather(-start)?\(', line):
      for sizes in re.findall(r'\w+\[([\d,]*)\]', got[1]):
        shape = tuple(int(n) for n in sizes.split(',') if n)
        assert shape in whole or np.prod(shape) <= cfg.data.batch, line


@pytest.mark.parametrize('batch, n, group', [(16, 4, 1), (16, 4, 4), (32, 3, 2), (8, 4, 4)])
def test_which_rows_count_does_not_depend_on_the_devices(batch, n, group):
  want = [row for row in range(batch) if row // group % n == 0]
  for devices in (1, 2, 4, 8):
    mesh = jax.sharding.AbstractMesh((devices, 1), ('data', 'fsdp'))
    with jax.sharding.use_abstract_mesh(mesh):
      take, weight = rows.every(n, batch, group)
      taken = take(np.arange(batch))
    np.testing.assert_array_equal(taken[weight > 0], want)
    # As many of each device, in order, so that none has to come from elsewhere.
    np.testing.assert_array_equal(
      taken // (batch // devices), np.repeat(range(devices), len(taken) // devices)
    )
    if devices == 1:
      assert len(taken) == len(want)  # no work for nothing


@pytest.fixture(scope='module')
def begun(smallest, compiled_once):
  """(first state, step) of a stage, on one device: the program of a run, which keeps the state."""
  cfg, mesh = settings.build(settings.Config, smallest()), _one_device()

  @functools.cache
  def of(stage):
    init = lambda key: STAGES[stage].init(cfg, key)
    state = jax.jit(init, out_shardings=sharding.replicated(mesh))(jax.random.key(0))
    with compiled_once():
      program = programs.compiled(cfg, stage, mesh)
    given = lambda state: jax.tree.map(jnp.copy, state)  # it donates its own
    return state, lambda state, batch, root: program(
      given(state), sharding.put(batch, mesh), jax.device_put(root, sharding.replicated(mesh))
    )

  return of


VERBS_TRAIN = ('gan', 'diffusion')  # in the smoke test of them
SMOKE = [s if s in VERBS_TRAIN else pytest.param(s, marks=pytest.mark.smoke) for s in STAGES]


@pytest.mark.parametrize('stage', SMOKE)
def test_noise_changes_with_the_step_and_only_with_it(tiny, stage, begun):
  """A resume test cannot see this: a constant key is perfectly reproducible."""
  (state, step), batch = begun(stage), _batch(tiny)
  losses = {'gan': 'd_loss', 'joint': 'refiner_loss', 'fewstep': 'd_loss'}
  loss = losses.get(stage, 'loss')

  def at(i):
    _, metrics = step(state.replace(step=jnp.int32(i)), batch, jax.random.key(ROOT_KEY))
    return float(metrics[f'{stage}/{loss}'])

  assert at(0) == at(0)
  assert at(0) != at(1)


@pytest.mark.parametrize('stage', ['gan', 'joint'])
def test_a_step_runs_the_generator_forward_once(tiny, stage):
  """For the critic and for the answer to it."""
  state = jax.eval_shape(lambda key: STAGES[stage].init(tiny, key), jax.random.key(0))
  calls = []

  def count(call, args, kwargs, context):
    if context.method_name == '__call__':
      calls.append(type(context.module).__name__)
    return call(*args, **kwargs)

  with nn.intercept_methods(count):
    jax.eval_shape(STAGES[stage].make_step(tiny), state, _batch(tiny), jax.random.key(0))
  assert calls.count('Generator') == 1


def test_the_critic_learns_to_prefer_real_clips(tiny, begun):
  """A flipped sign still makes some loss fall; the scores tell the truth."""
  (state, step), batch = begun('gan'), _batch(tiny, 255)
  for _ in range(10):
    new, metrics = step(state.replace(step=jnp.int32(0)), batch, jax.random.key(ROOT_KEY))
    state = new
  assert metrics['gan/real_score'] > metrics['gan/fake_score']


def test_spectral_norm_keeps_its_vectors_in_the_state(tiny):
  critic = dataclasses.replace(tiny.draft.critic, spectral_norm=True)
  cfg = dataclasses.replace(tiny, draft=dataclasses.replace(tiny.draft, critic=critic))
  state = jax.jit(lambda key: STAGES['gan'].init(cfg, key))(jax.random.key(0))
  before = state.nets['critic'].kept['game']['spectral']
  state, metrics = jax.jit(STAGES['gan'].make_step(cfg))(
    state, _batch(cfg), jax.random.key(ROOT_KEY)
  )
  assert all(np.isfinite(v) for v in metrics.values())
  after = state.nets['critic'].kept['game']['spectral']
  moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before, after)
  assert max(jax.tree.leaves(moved)) > 0


def test_the_penalty_is_that_of_the_clip_critic_and_the_mean_frame_critic(tiny):
  """Linear critics: half of gamma times the squared norm of their summed weights."""
  shape = (2, tiny.data.frames, 4, 4, 3)
  clip, frame = jax.random.normal(jax.random.key(0), (2, *shape[1:]))

  class Linear(nn.Module):
    dtype: jnp.dtype = jnp.float32

    def __call__(self, x, t, label, train):
      return {
        'clip': jnp.sum(x * clip[None], axis=(1, 2, 3, 4)),
        'frame': jnp.sum(x * frame[None], axis=(2, 3, 4)),
      }

  video = jnp.zeros(shape)
  streams, as_it_is = lambda name: jax.random.key(len(name)), lambda which, clip: clip
  scene = game.Scene(video, jnp.zeros(2), jnp.zeros(2), None, streams, as_it_is)
  squared = jnp.sum((clip + frame / tiny.data.frames) ** 2)

  def penalty(**weights):
    judge = Judge(Linear(), lambda streams, which, clip, given: clip, 'hinge', **weights)
    seat = game._Seat('critic', judge, scene, Net({}))
    return seat._penalty(Net({}), {}, video, video)

  np.testing.assert_allclose(penalty(r1=0.3, r2=0.2), 0.5 * (0.3 + 0.2) * squared, rtol=1e-5)
  want = 10 * (jnp.sqrt(squared) - 1) ** 2
  np.testing.assert_allclose(penalty(interpolation=10.0), want, rtol=1e-5)
  assert penalty() == 0


@pytest.mark.parametrize('dtype, stddev', [('float32', True), ('bfloat16', False)])
def test_the_penalty_is_of_the_critic_of_the_game_in_float32(smallest, dtype, stddev):
  """R1 is the squared gradient of the scores that a whole batch gets, whatever the dtype."""
  given = smallest() | {'dtype': dtype}
  given['draft']['critic']['minibatch_stddev'] = stddev
  given['draft'] |= dict(r1=2.0, r2=0.0, penalty_rows=2)
  cfg = settings.build(settings.Config, given)
  state = jax.jit(lambda key: gan.init(cfg, key))(jax.random.key(0))
  root = jax.random.key(ROOT_KEY)
  step = gan.make_step(cfg)
  penalty = jax.jit(lambda *given: step(*given)[1]['gan/penalty'])(state, _batch(cfg), root)

  critic = networks.make(dataclasses.replace(cfg, dtype='float32')).gan.judges['critic'].network
  key = rng.stream(root, 'gan/frames', 0)
  frames = style.draw_frames(key, cfg.data.frames, cfg.draft.critic.frames)
  label = jnp.asarray(_batch(cfg)['label'])
  params = {'params': state.nets['critic'].params}

  @jax.jit
  @jax.grad
  def gradient(video):
    score = critic.apply(params, (video, frames), jnp.zeros(len(video)), label)
    return jnp.sum(score['clip']) + jnp.sum(jnp.mean(score['frame'], axis=1))

  squared = jnp.sum(gradient(batches.clips(_batch(cfg))) ** 2, axis=(1, 2, 3, 4))
  group = 4 if stddev else 1
  chosen = squared.reshape(-1, group)[::2]
  np.testing.assert_allclose(penalty, jnp.mean(chosen), rtol=1e-5)


@pytest.fixture(scope='module')
def all_options(smallest):
  """A configuration with every option of the game on."""
  given = smallest()
  given['draft'] |= dict(objective='wasserstein', interpolation_penalty=10.0)
  given['gan'] |= dict(augment='adaptive', augment_probability=0.5, noise=0.4)
  given['draft']['critic'] |= dict(convolution='full', minibatch_stddev=True)
  given['draft']['generator'] |= dict(motion='continuous', motion_interval=2)
  return settings.build(settings.Config, given)


def test_the_game_with_every_option_adapts_its_augmentation(all_options):
  """And goes on from the probability in the state."""
  cfg, root = all_options, jax.random.key(ROOT_KEY)
  state = jax.jit(lambda key: STAGES['gan'].init(cfg, key))(jax.random.key(0))
  step, pace = (
    jax.jit(STAGES['gan'].make_step(cfg)),
    cfg.data.batch * cfg.data.frames / augment.FRAMES,
  )
  new, metrics = step(state, _batch(cfg), root)
  assert all(np.isfinite(v) for v in metrics.values())
  assert metrics['gan/augment_probability'] == 0.5 and metrics['gan/g_grad_norm'] > 0
  after = float(game.probability(new.nets['critic']))
  np.testing.assert_allclose(abs(after - 0.5), pace, rtol=1e-3)
  _, metrics = step(new, _batch(cfg), root)
  assert float(metrics['gan/augment_probability']) == after
  assert step._cache_size() == 1


def test_the_critic_sees_noise_up_to_a_level_that_follows_the_augmentation(all_options):
  root = jax.random.key(ROOT_KEY)
  key = lambda name: jax.random.fold_in(root, len(name))
  clip = jnp.zeros((256, 1, 16, 16, 3))
  highest = {}
  for p in (0.5, 0.25):
    critic = Net({}, {'game': {'augment': jnp.float32(p)}})
    t, hide = gan._hide(all_options, key, len(clip), {'critic': critic})
    highest[p] = float(t.max())
    np.testing.assert_allclose(
      hide('real', clip).std(axis=(1, 2, 3, 4)),
      denoising.schedule(all_options).sigma(t),
      atol=0.04,
    )
  np.testing.assert_allclose([highest[0.5], highest[0.25]], [0.2, 0.1], rtol=0.03)


@pytest.mark.parametrize('stage', ['gan', 'joint'])
def test_critics_see_real_clips_and_drafts_augmented(all_options, stage, monkeypatch):
  """Twice the drafts: for the critic's move, and for the answer, whose gradient goes through it."""
  seen = []
  monkeypatch.setattr(augment, 'clips', lambda key, video, p: seen.append(video) or video)
  state = jax.eval_shape(lambda key: STAGES[stage].init(all_options, key), jax.random.key(0))
  step = STAGES[stage].make_step(all_options)
  jax.eval_shape(step, state, _batch(all_options), jax.random.key(ROOT_KEY))
  assert len(seen) == 3


@pytest.mark.parametrize('stage', ['gan', 'fewstep'])
def test_a_game_without_augmentation_has_none_in_its_program(tiny, all_options, stage, monkeypatch):
  """Nor ever that of the few steps."""
  monkeypatch.setattr(augment, 'clips', None)  # not to be called
  cfg = tiny if stage == 'gan' else all_options
  state = jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))
  assert game.probability(state.nets['critic']) is None
  step = STAGES[stage].make_step(cfg)
  _, metrics = jax.eval_shape(step, state, _batch(cfg), jax.random.key(ROOT_KEY))
  assert f'{stage}/augment_probability' not in metrics


@pytest.mark.parametrize('stage', ['gan', 'joint'])
def test_a_share_of_the_drafts_begins_with_the_frame_it_is_given(tiny, stage, begun, monkeypatch):
  """So the critics judge whether the rest follows from it."""

  class Seen(Exception):
    pass

  def play(judges, nets, txs, scene, *, draw, **_):
    raise Seen(draw(nets['generator'].params)[0].clip, scene.real)

  monkeypatch.setattr(game, 'play', play)
  (state, _), batch = begun(stage), jax.device_put(_batch(tiny))
  with pytest.raises(Seen) as seen:
    STAGES[stage].make_step(tiny)(state, batch, jax.random.key(ROOT_KEY))
  draft, real = seen.value.args
  same = lambda frame: np.asarray(jnp.all(draft[:, frame] == real[:, frame], axis=(1, 2, 3)))
  assert 0 < same(0).sum() < len(real) and not same(1).any()


def test_only_drafts_that_continue_a_clip_are_held_to_it(tiny):
  """A regression from an unrelated clip is not well posed."""
  real = jnp.zeros((2, 4, 8, 8, 3))
  given = Given(real[:, 0], jnp.array([True, False]))
  loss = lambda clip: style.likeness(5.0)(Draft(clip), real, given)
  assert loss(real.at[1].add(1.0)) == 0
  np.testing.assert_allclose(loss(real.at[0].add(0.5)), 5.0 * 0.5 / 2)


def test_every_nth_row_trains_the_refiner_and_all_of_them_the_game(tiny, begun):
  (state, step), batch = begun('joint'), _batch(tiny)
  other = batch | {'video': batch['video'].copy()}
  other['video'][1 :: tiny.joint.refiner_rows] //= 2
  one, two = (step(state, each, jax.random.key(ROOT_KEY))[1] for each in (batch, other))
  assert one['joint/refiner_loss'] == two['joint/refiner_loss']
  assert one['joint/d_loss'] != two['joint/d_loss']


def test_joint_critics_see_clean_clips_and_levels_from_tau(tiny):
  t = np.asarray(joint.draw_levels(tiny, jax.random.key(0), 4000))
  noisy = t[t > 0]
  np.testing.assert_allclose(len(noisy) / len(t), 1 - tiny.joint.clean_share, atol=0.03)
  assert noisy.min() >= tiny.hybrid.tau and noisy.max() <= 1
  assert np.median(noisy) < (tiny.hybrid.tau + 1) / 2  # dense at tau


def test_few_step_training_draws_the_steps_of_its_walks(tiny):
  """t and s are neighbours on a grid of 1 to `walk` steps from tau to 0, each as likely."""
  cfg = dataclasses.replace(tiny, fewstep=dataclasses.replace(tiny.fewstep, walk=3))
  t, s = fewstep.draw_steps(cfg, jax.random.key(0), 4000)
  found = {(round(float(a), 4), round(float(b), 4)) for a, b in zip(t, s)}
  tau = cfg.hybrid.tau
  grid = {(tau * (k + 1) / n, tau * k / n) for n in (1, 2, 3) for k in range(n)}
  assert found == {(round(a, 4), round(b, 4)) for a, b in grid}
  np.testing.assert_allclose(np.mean((t == tau) & (s == 0)), 1 / 3, atol=0.03)


def test_few_step_training_moves_the_denoiser_and_leaves_the_bridge(tiny, begun):
  state, step = begun('fewstep')
  new, metrics = step(state, _batch(tiny), jax.random.key(ROOT_KEY))
  moved = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()),
    *[n.nets['denoiser'].params for n in (state, new)],
  )
  assert max(jax.tree.leaves(moved)) > 0
  jax.tree.map(np.testing.assert_array_equal, *[n.nets['bridge'].params for n in (state, new)])
  assert all(np.isfinite(value) for value in metrics.values())


def test_the_aligner_stage_moves_the_aligner_alone(tiny, begun):
  state, step = begun('aligner')
  new = state
  for _ in range(3):  # the first step of the warm-up may have rate 0
    new, _ = step(new, _batch(tiny), jax.random.key(ROOT_KEY))
  old_net, new_net = state.nets['denoiser'], new.nets['denoiser']
  labels = aligner.late_or_rest(tiny.denoiser.late, old_net.params)
  moved = jax.tree.map(lambda a, b: bool(jnp.abs(a - b).max() > 0), old_net.params, new_net.params)
  by_label = {'late': [], 'rest': []}
  jax.tree.map(lambda label, m: by_label[label].append(m), labels, moved)
  assert not any(by_label['rest'])
  assert any(by_label['late'])
  jax.tree.map(np.testing.assert_array_equal, *[n.nets['generator'].params for n in (state, new)])


def _moved_leaves(before, after):
  """Paths of the parameters that changed, and of those that are bit-equal."""
  found = {True: set(), False: set()}
  for (path, old), new in zip(
    jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
  ):
    found[bool((old != new).any())].add(jax.tree_util.keystr(path, simple=True, separator='/'))
  return found[True], found[False]


def _trained(cfg, stage, steps, state=None):
  """The first state, that after so many steps, and the last metrics."""
  state = state or jax.jit(lambda key: STAGES[stage].init(cfg, key))(jax.random.key(0))
  step, new = jax.jit(STAGES[stage].make_step(cfg)), state
  for _ in range(steps):
    new, metrics = step(new, _batch(cfg), jax.random.key(ROOT_KEY))
  assert all(np.isfinite(value) for value in metrics.values()), metrics
  return state, new, metrics


def _mixes(path):
  return 'time_conv' in path or 'time_attention' in path


def test_the_aligner_stage_can_begin_with_a_denoiser_from_scratch(smallest):
  """All of it learns: temporal layers, aligner and the way in of the latents at once."""
  given = smallest() | {'stages': ('gan', 'aligner')}
  given['aligner'] |= dict(steps=20, denoiser_learning_rate=1e-3)
  cfg = settings.build(settings.Config, given)
  old, new, _ = _trained(cfg, 'aligner', 8)  # zeros behind zeros learn one after the other
  for name in ('denoiser', 'bridge'):
    _, still = _moved_leaves(old.nets[name].params, new.nets[name].params)
    assert not still, name
  _, still = _moved_leaves(old.nets['generator'].params, new.nets['generator'].params)
  assert len(still) == len(jax.tree.leaves(old.nets['generator'].params))


def test_rows_of_frames_leave_temporal_layers_alone_in_the_aligner_stage(smallest):
  """Where all of them are, as in the paper's setting, nothing but the aligner ties frames."""
  given = smallest() | {'stages': ('diffusion', 'aligner')}
  given['diffusion']['frames_share'] = 1.0
  given['aligner'] |= dict(steps=20, denoiser_learning_rate=1e-3, latents='none')
  old, new, _ = _trained(settings.build(settings.Config, given), 'aligner', 4)
  moved, still = _moved_leaves(old.nets['denoiser'].params, new.nets['denoiser'].params)
  assert any(map(_mixes, still)) and not any(map(_mixes, moved))
  assert any(path.startswith('aligner') for path in moved)


def test_without_latents_nothing_runs_the_bridge_or_the_generator(smallest):
  """And no stage gan is needed."""
  given = smallest() | {'stages': ('diffusion', 'aligner')}
  given['aligner']['latents'] = 'none'
  cfg = settings.build(settings.Config, given)
  state = jax.eval_shape(lambda key: aligner.init(cfg, key), jax.random.key(0))
  assert 'bridge' not in state.nets
  applied = set()

  def note(call, args, kwargs, context):
    applied.add(type(context.module).__name__)
    return call(*args, **kwargs)

  with nn.intercept_methods(note):
    _, metrics = jax.eval_shape(aligner.make_step(cfg), state, _batch(cfg), jax.random.key(0))
  assert {'UNet3D', 'Aligner'} <= applied and not {'Bridge', 'Generator'} & applied
  assert 'aligner/bridge_loss' not in metrics


@pytest.mark.parametrize('latents', ['none', 'clean', 'noised'])
def test_what_the_denoiser_is_told_of_the_clean_clip(smallest, latents):
  """'noised': a function of x_t alone, as at sampling, where there is no clean clip."""
  given = smallest()
  given['aligner'] |= dict(latents=latents, latent_dropout=0.0)
  cfg = settings.build(settings.Config, given)
  nets, shape = networks.make(cfg), (2, cfg.data.frames, cfg.data.size, cfg.data.size, 3)
  bridge = Net.of(jax.jit(functools.partial(networks.init_bridge, cfg))(jax.random.key(0)))
  one, other, x_t, elsewhere = jax.random.normal(jax.random.key(1), (4, *shape))
  t, label = jnp.full(2, 0.4), jnp.zeros(2, jnp.int32)

  @jax.jit
  def told(video, x_t, t):
    return aligner.conditions(cfg, nets, bridge, video, label, jax.random.key(2))(x_t, t)

  same = lambda a, b: all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))
  first = told(one, x_t, t)
  assert same(first, told(other, x_t, t)) == (latents != 'clean')
  assert same(first, told(one, elsewhere, t)) == (latents != 'noised')
  assert same(first, told(one, x_t, t + 0.3)) == (latents != 'noised')
  assert (first.align == 1).all()
  assert (first.use_latents == (latents != 'none')).all()


def _handed(cfg, names):
  """Networks of a stage before, none of whose parameters is a fresh one's."""
  made = {}
  for i, name in enumerate(names):
    init = jax.jit(functools.partial(getattr(networks, f'init_{name}'), cfg))
    made[name] = Net.of(jax.tree.map(lambda leaf: leaf + 0.01, init(jax.random.key(i))))
  return made


def test_a_joint_stage_whose_refiner_rests_hands_it_on_as_it_was(smallest):
  given = smallest()
  given['joint']['refiner_rows'] = 0
  cfg = settings.build(settings.Config, given)
  taken = _handed(cfg, ('generator', 'denoiser', 'bridge'))
  begin = jax.jit(functools.partial(handed_on.begin, cfg, 'joint'))
  old, new, metrics = _trained(cfg, 'joint', 2, begin(jax.random.key(0), taken))
  after = handed_on.of_state(new)
  for name in ('denoiser', 'bridge'):
    jax.tree.map(np.testing.assert_array_equal, after[name].params, taken[name].params)
  moved, _ = _moved_leaves(old.nets['generator'].params, new.nets['generator'].params)
  assert moved and not [name for name in metrics if 'refiner' in name]


def test_a_joint_stage_needs_no_aligner(smallest):
  """It trains the refiner without one, and leaves alone what no stage taught it to use."""
  given = smallest() | {'stages': ('gan', 'diffusion', 'joint')}
  cfg = settings.build(settings.Config, given)
  begin = jax.jit(functools.partial(handed_on.begin, cfg, 'joint'))
  taken = _handed(cfg, ('generator', 'denoiser'))
  old, new, metrics = _trained(cfg, 'joint', 2, begin(jax.random.key(0), taken))
  moved, still = _moved_leaves(old.nets['denoiser'].params, new.nets['denoiser'].params)
  unused = {path for path in moved | still if path.startswith(('aligner', 'latents_'))}
  assert still == unused and moved
  assert 'bridge' not in new.nets
  assert 'joint/refiner_loss' in metrics and 'joint/refiner_flow_loss' not in metrics


def test_the_refiner_never_regresses_a_real_clip_from_an_unrelated_draft(tiny, begun):
  """Its loss in the joint stage does not depend on the generator."""
  state, step = begun('joint')
  other = jax.tree.map(lambda p: p + 0.1, state.nets['generator'].params)
  changed = state.nets | {'generator': state.nets['generator'].replace(params=other)}
  states = (state, state.replace(nets=changed))
  rows = [step(s, _batch(tiny), jax.random.key(ROOT_KEY))[1] for s in states]
  assert rows[0]['joint/g_loss'] != rows[1]['joint/g_loss']
  np.testing.assert_array_equal(*[row['joint/refiner_loss'] for row in rows])


def test_joint_goes_on_with_the_vectors_and_the_augmentation_of_stage_gan(smallest):
  """Power iteration that begins anew would let the critic off its norm for some steps."""
  given = smallest()
  given['draft']['critic']['spectral_norm'] = True
  given['gan'] |= dict(augment='adaptive', augment_probability=0.2)
  cfg = settings.build(settings.Config, given)
  begin = jax.jit(functools.partial(handed_on.begin, cfg, 'joint'))
  ended = jax.jit(lambda key: gan.init(cfg, key))(jax.random.key(1))
  critic = ended.nets['critic']
  critic = critic.keep(game=critic.kept['game'] | {'augment': jnp.float32(0.7)})
  others = {'denoiser': networks.init_denoiser, 'bridge': networks.init_bridge}
  taken = {name: Net.of(init(cfg, jax.random.key(2))) for name, init in others.items()}
  taken |= handed_on.of_state(ended.replace(nets=ended.nets | {'critic': critic}))

  begun = begin(jax.random.key(0), taken).nets['critic']
  assert game.probability(begun) == jnp.float32(0.7)
  jax.tree.map(np.testing.assert_array_equal, begun.kept, critic.kept)


def test_drafts_that_are_all_alike_have_no_spread():
  clips = jax.random.normal(jax.random.key(0), (8, 2, 4, 4, 3))
  alike = jnp.broadcast_to(clips[:1], clips.shape)
  assert game._spread(alike) < 1e-6 < 0.5 < game._spread(clips)
