"""Each stage's step: compiled once, sharded, random by step, and in the right direction."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import sharding
from hgdt_jax.stages import STAGES, adversarial, aligner
from hgdt_jax.trained import abstract_state

ROOT_KEY = 7


def _batch(cfg, value=None):
  shape = (cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3)
  draw = np.random.default_rng(0).integers(0, 256, shape)
  video = draw if value is None else np.full(shape, value)
  label = np.arange(cfg.data.batch, dtype=np.int32) % cfg.data.classes
  return {'video': video.astype(np.uint8), 'label': label, 'id': label.astype(np.int64)}


def _compiled(cfg, stage, mesh):
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(cfg, stage, mesh))
  init = jax.jit(lambda key: STAGES[stage].init(cfg, key), out_shardings=shardings)
  whole = sharding.replicated(mesh)
  step = jax.jit(
    STAGES[stage].make_step(cfg),
    donate_argnums=0,
    in_shardings=(shardings, sharding.batch(mesh), whole),
    out_shardings=(shardings, whole),
  )
  return init(jax.random.key(0)), step


@pytest.mark.parametrize('stage', STAGES)
def test_one_device_and_eight_give_the_same_losses(tiny, stage, monkeypatch):
  """Data parallel and parameter sharded, donated, compiled once."""
  monkeypatch.setattr(sharding, '_SPLIT_FROM_BYTES', 256)
  one = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('data', 'fsdp'))
  meshes = [one, sharding.make_mesh(2, 4)]
  rows = []
  for mesh in meshes:
    state, step = _compiled(tiny, stage, mesh)
    root = jax.device_put(jax.random.key(ROOT_KEY), sharding.replicated(mesh))
    old = state
    for _ in range(2):
      state, metrics = step(state, sharding.put(_batch(tiny), mesh), root)
    assert step._cache_size() == 1  # nothing about the second call was new
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old) if leaf.size > 1)
    rows.append(jax.device_get(metrics))
  assert any(len(leaf.sharding.spec) for leaf in jax.tree.leaves(state))  # some leaf is split
  for other in rows[1:]:
    for name, value in rows[0].items():
      np.testing.assert_allclose(other[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize('stage', STAGES)
def test_noise_changes_with_the_step_and_only_with_it(tiny, stage):
  """A resume test cannot see this: a constant key is perfectly reproducible."""
  state = jax.jit(lambda key: STAGES[stage].init(tiny, key))(jax.random.key(0))
  step, batch = jax.jit(STAGES[stage].make_step(tiny)), _batch(tiny)
  loss = {'gan': 'd_loss', 'diffusion': 'loss', 'aligner': 'loss', 'joint': 'refiner_loss'}[stage]
  at = lambda i: float(
    step(state.replace(step=jnp.int32(i)), batch, jax.random.key(ROOT_KEY))[1][f'{stage}/{loss}']
  )
  assert at(0) == at(0)
  assert at(0) != at(1)


@pytest.mark.parametrize('objective', sorted(adversarial.adversarial.OBJECTIVES))
def test_the_critic_learns_to_prefer_real_clips(tiny, objective):
  """A flipped sign still makes some loss fall; the scores tell the truth."""
  gan = dataclasses.replace(
    tiny.gan, objective=objective, learning_rate=2e-3, r1=0.0, r2=0.0, steps=40
  )
  cfg = dataclasses.replace(tiny, gan=gan)
  state = jax.jit(lambda key: STAGES['gan'].init(cfg, key))(jax.random.key(0))
  step, batch = jax.jit(STAGES['gan'].make_step(cfg)), _batch(cfg, 255)
  for _ in range(10):
    state, metrics = step(state, batch, jax.random.key(ROOT_KEY))
  assert metrics['gan/real_score'] > metrics['gan/fake_score']


def test_spectral_norm_bounds_the_critic(tiny):
  cfg = dataclasses.replace(tiny, critic=dataclasses.replace(tiny.critic, spectral_norm=True))
  state = jax.jit(lambda key: STAGES['gan'].init(cfg, key))(jax.random.key(0))
  step = jax.jit(STAGES['gan'].make_step(cfg))
  before = state.nets['critic'].spectral
  state, metrics = step(state, _batch(cfg), jax.random.key(ROOT_KEY))
  assert all(np.isfinite(v) for v in metrics.values())
  moved = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), before, state.nets['critic'].spectral
  )
  assert max(jax.tree.leaves(moved)) > 0


def test_penalised_rows_are_an_unbiased_part(tiny):
  """On equal rows, a penalty on every fourth row is the penalty on all."""
  rows = []
  for every in (1, 4):
    cfg = dataclasses.replace(tiny, gan=dataclasses.replace(tiny.gan, penalty_rows=every, r2=0.0))
    state = jax.jit(lambda key, cfg=cfg: STAGES['gan'].init(cfg, key))(jax.random.key(0))
    batch = _batch(cfg, 200) | {'label': np.zeros(cfg.data.batch, np.int32)}
    _, metrics = jax.jit(STAGES['gan'].make_step(cfg))(state, batch, jax.random.key(ROOT_KEY))
    rows.append(metrics['gan/penalty'])
  np.testing.assert_allclose(*rows, rtol=1e-5)


def test_the_aligner_stage_moves_the_aligner_alone(tiny):
  state = jax.jit(lambda key: STAGES['aligner'].init(tiny, key))(jax.random.key(0))
  step = jax.jit(STAGES['aligner'].make_step(tiny))
  new = state
  for _ in range(3):  # the first step of the warm-up has rate 0
    new, _ = step(new, _batch(tiny), jax.random.key(ROOT_KEY))
  old_net, new_net = state.nets['denoiser'], new.nets['denoiser']
  labels = aligner.aligner_or_rest(old_net.params)
  moved = jax.tree.map(lambda a, b: bool(jnp.abs(a - b).max() > 0), old_net.params, new_net.params)
  by_label = {'aligner': [], 'rest': []}
  jax.tree.map(lambda label, m: by_label[label].append(m), labels, moved)
  assert not any(by_label['rest'])
  assert any(by_label['aligner'])
  generator = [n.nets['generator'].params for n in (state, new)]
  jax.tree.map(np.testing.assert_array_equal, *generator)


def test_the_denoiser_sees_no_draft(tiny):
  """A refiner that regresses a real clip from an unrelated draft is ill posed: the refiner's loss
  in the joint stage must not depend on the generator, but through the bridge's guess of latents."""
  step = jax.jit(STAGES['joint'].make_step(tiny))
  state = jax.jit(lambda key: STAGES['joint'].init(tiny, key))(jax.random.key(0))
  other = jax.tree.map(lambda p: p + 0.1, state.nets['generator'].params)
  changed = state.replace(
    nets=state.nets | {'generator': state.nets['generator'].replace(params=other)}
  )
  rows = [step(s, _batch(tiny), jax.random.key(ROOT_KEY))[1] for s in (state, changed)]
  assert rows[0]['joint/g_loss'] != rows[1]['joint/g_loss']
  np.testing.assert_array_equal(*[row['joint/refiner_loss'] for row in rows])
