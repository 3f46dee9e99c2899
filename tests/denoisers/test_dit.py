"""The transformer: what the design claims of it, alone and in the hybrid."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import dit as recipe
from hgdt_jax import run, settings, trained, writer
from hgdt_jax.denoisers import dit
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.stages import STAGES

B, T, S, D, PATCH = 2, 4, 8, 6, 2
TIMES = jnp.array([0.2, 0.7])
X = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
ON, OFF = jnp.ones(B), jnp.zeros(B)


def _network(**fields):
  settings = dit.Settings('dit', width=16, depth=2, heads=2, patch=PATCH)
  return dit.make(settings, **(dict(channels=3, latent_size=D, classes=3) | fields))


def _told(label=(0, 2), frames=T):
  return Condition.plain(jnp.array(label), frames, D)


def _perturbed(params, scale=0.1):
  """Parameters away from their zeros, where every path is open."""
  normal = np.random.default_rng(9).normal
  moved = lambda p: np.float32(p + scale * normal(size=p.shape))
  return jax.tree.map(moved, jax.device_get(params))


@pytest.fixture(scope='module')
def fresh():
  return jax.jit(_network().init)(jax.random.key(1), X, TIMES, _told(), ON)['params']


@pytest.fixture(scope='module')
def params(fresh):
  return _perturbed(fresh)


@jax.jit
def _apply(params, x, mixing, told):
  return _network().apply({'params': params}, x, TIMES, told, mixing).output


def denoised(params, x=X, mixing=ON, told=None):
  return np.asarray(_apply(params, x, mixing, told or _told(frames=x.shape[1])))


def _per_frame(a, b):
  """Largest difference in each frame, `[T]`."""
  return np.abs(a - b).max(axis=(0, 2, 3, 4))


def test_output_is_zero_at_initialisation(fresh):
  np.testing.assert_array_equal(denoised(fresh), 0)


def test_fresh_blocks_are_the_identity(fresh, params):
  """With an output layer that lets through, a token answers for its own pixels and no others."""
  opened = fresh | {'out': params['out']}
  changed = np.abs(denoised(opened, X.at[0, 1, 3, 4].add(1.0)) - denoised(opened)).max(axis=-1)
  inside = np.zeros(changed.shape, bool)
  inside[0, 1, 2:4, 4:6] = True  # the square of 2x2 with that pixel
  assert (changed[inside] > 1e-3).all() and (changed[~inside] == 0).all()
  opened |= {name: params[name] for name in ('space0', 'time0')}
  changed = np.abs(denoised(opened, X.at[0, 1, 3, 4].add(1.0)) - denoised(opened)).max(axis=-1)
  assert (changed[0] > 1e-6).all() and (changed[1] == 0).all()


def test_a_block_is_what_numpy_makes_of_it():
  """In doubles, from the papers: norm, modulate, attend, gate; the same around the MLP."""
  n, length, size, heads = 3, 5, 8, 2
  x = jax.random.normal(jax.random.key(2), (B, n, length, size))
  embedding = jax.random.normal(jax.random.key(3), (B, 7))
  block = dit.Block(heads, jnp.float32)
  fresh = jax.jit(block.init)(jax.random.key(4), x, embedding)['params']
  params = _perturbed(fresh, 0.5)
  found = jax.jit(block.apply)({'params': params}, x, embedding)

  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  dense = lambda h, of: h @ of['kernel'] + of['bias']
  e = np.asarray(embedding, np.float64)
  parts = np.split(dense(e / (1 + np.exp(-e)), p['modulation']['Dense_0']), 6, axis=-1)
  scale0, shift0, gate0, scale1, shift1, gate1 = (part[:, None, None] for part in parts)

  def modulated(h, scale, shift):
    h = h - h.mean(axis=-1, keepdims=True)
    return h / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-6) * (1 + scale) + shift

  def attend(h):
    q, k, v = np.split(h.reshape(B, n, length, 3 * heads, -1), 3, axis=3)
    weights = np.exp(np.einsum('bnqhd,bnkhd->bnhqk', q, k) / (size // heads) ** 0.5)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum('bnhqk,bnkhd->bnqhd', weights, v).reshape(B, n, length, size)

  def gelu(h):
    return h / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))

  x = np.asarray(x, np.float64)
  y = x + gate0 * dense(attend(dense(modulated(x, scale0, shift0), p['qkv'])), p['attended'])
  y += gate1 * dense(gelu(dense(modulated(y, scale1, shift1), p['mlp0'])), p['mlp1'])
  np.testing.assert_allclose(found, y - x, atol=1e-4 * np.abs(y - x).max())


def test_without_mixing_a_frame_is_denoised_by_itself(params):
  """Whatever is beside it, and wherever it stands."""
  alone = denoised(params, mixing=OFF)
  reached = _per_frame(denoised(params, X.at[:, 1].add(1.0), OFF), alone)
  assert reached[1] > 1e-3 and (reached[[0, 2, 3]] == 0).all()
  order = np.array([2, 0, 3, 1])
  np.testing.assert_array_equal(denoised(params, X[:, order], OFF), alone[:, order])
  still = denoised(params, jnp.repeat(X[:, :1], T, axis=1), OFF)
  np.testing.assert_array_equal(still, np.repeat(still[:, :1], T, axis=1))


def test_with_mixing_frames_see_each_other_and_know_their_place(params):
  together = denoised(params)
  assert (_per_frame(denoised(params, X.at[:, 1].add(1.0)), together) > 1e-4).all()
  order = np.array([2, 0, 3, 1])
  assert (_per_frame(denoised(params, X[:, order]), together[:, order]) > 1e-3).all()
  still = denoised(params, jnp.repeat(X[:, :1], T, axis=1))
  assert (_per_frame(still[:, 1:], still[:, :-1]) > 1e-3).all()


def test_time_mixing_is_switched_row_by_row(params):
  mixed = denoised(params, mixing=jnp.array([0.0, 1.0]))
  np.testing.assert_allclose(mixed[0], denoised(params, mixing=OFF)[0], atol=1e-5)
  np.testing.assert_allclose(mixed[1], denoised(params)[1], atol=1e-5)


def test_a_token_knows_its_row_and_its_column(params):
  """Moved by a token, the same picture is not just moved."""
  for axis in (2, 3):
    moved = denoised(params, jnp.roll(X, PATCH, axis))
    assert np.abs(moved - np.roll(denoised(params), PATCH, axis)).max() > 1e-3


@pytest.mark.parametrize('count', [2, 64, 300])
def test_no_two_places_look_alike(count):
  at = np.asarray(dit.places(count, 16))
  apart = np.linalg.norm(at[:, None] - at[None], axis=-1) + 9 * np.eye(count)
  assert apart.min() > 0.05
  np.testing.assert_array_equal(at[:2], dit.places(2, 16))  # whatever comes after
  square = np.asarray(dit.grid(3, 5, 16)).reshape(3, 5, 16)
  assert (square[:, :1, :8] == square[..., :8]).all() and (
    square[:1, :, 8:] == square[..., 8:]
  ).all()
  assert len(np.unique(square.reshape(15, 16).round(4), axis=0)) == 15


@pytest.mark.parametrize('shape', [(B, 3 * T, S, S, 3), (B, 1, S, S, 3), (B, T, 2 * S, S, 3)])
def test_other_lengths_and_sizes_than_trained_are_accepted(params, shape):
  x = jax.random.normal(jax.random.key(6), shape)
  out = denoised(params, x)
  assert out.shape == shape and np.isfinite(out).all()
  changed = denoised(params, x.at[:, -1].add(1.0))
  assert np.abs(changed - out)[:, 0].max() > 1e-5  # from one end to the other


def test_a_label_matters_and_none_is_one_of_its_own(params):
  told = [denoised(params, told=_told(label)) for label in ((0, 2), (1, 2), (-1, -1))]
  first = [np.abs(told[0] - other).max(axis=(1, 2, 3, 4)) for other in told[1:]]
  assert first[0][0] > 1e-3 and first[0][1] == 0 and (first[1] > 1e-3).all()
  table = jnp.asarray(params['label']['Embed_0']['embedding'])
  changed = params | {'label': {'Embed_0': {'embedding': table.at[:3].add(1.0)}}}
  np.testing.assert_array_equal(denoised(changed, told=_told((-1, -1))), told[2])
  blind = _network(classes=0)
  assert (
    'label' not in jax.eval_shape(blind.init, jax.random.key(1), X, TIMES, _told(), ON)['params']
  )


def test_the_noise_level_matters(params):
  network = jax.jit(_network().apply)
  out = [network({'params': params}, X, t, _told(), ON).output for t in (TIMES, TIMES + 0.1)]
  assert np.abs(np.subtract(*out)).max() > 1e-3


def test_latents_and_aligner_mean_nothing_to_it(params):
  told = _told().replace(latents=jnp.ones((B, T, D)), use_latents=ON, align=ON)
  np.testing.assert_array_equal(denoised(params, told=told), denoised(params))


def test_every_parameter_gets_a_gradient(params):
  weight = jax.random.normal(jax.random.key(3), X.shape)
  grads = jax.jit(jax.grad(lambda p: jnp.sum(weight * _apply(p, X, ON, _told()))))(params)
  for path, g in jax.tree_util.tree_leaves_with_path(grads):
    assert np.abs(g).max() > 1e-6, jax.tree_util.keystr(path)


def test_a_bfloat16_network_predicts_more_than_bfloat16_resolves(params):
  rough, exact = (
    np.asarray(jax.jit(_network(dtype=dtype).apply)({'params': params}, X, TIMES, _told(), ON)[0])
    for dtype in (jnp.bfloat16, jnp.float32)
  )
  assert rough.dtype == np.float32
  assert np.mean(rough == rough.astype(jnp.bfloat16).astype(np.float32)) < 0.01
  assert 0 < np.linalg.norm(rough - exact) < 0.02 * np.linalg.norm(exact)


@pytest.fixture
def given(tiny_dict):
  """The smallest configuration with it."""
  tiny_dict['denoiser'] = dict(name='dit', width=8, depth=1, heads=2, patch=4)
  tiny_dict['stages'] = ('gan', 'diffusion', 'joint')
  tiny_dict['evaluation'] |= dict(checks=0, evaluations=())
  return tiny_dict


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    (dict(width=10), 'config.denoiser.width=10: must be a multiple of 4'),
    (dict(heads=3), 'config.denoiser.heads=3: cannot share width=8 features'),
    (dict(depth=0), 'config.denoiser.depth=0: must be at least 1'),
    (dict(patch=3), 'config.denoiser.patch=3: want one of 1, 2, 4'),
    (dict(blocks=2), 'config.denoiser.blocks: no such field; there are depth, heads, name, patch'),
  ],
)
def test_a_setting_that_does_not_fit_is_named(given, change, says):
  given['denoiser'] |= change
  with pytest.raises(ValueError, match=r'^config\.') as caught:
    settings.build(settings.Config, given)
  assert str(caught.value).startswith(says) and '\n' not in str(caught.value)


@pytest.mark.parametrize('latents', ['clean', 'none'])
def test_it_has_nothing_for_stage_aligner_to_train(given, latents):
  """Latents that the configuration names are told to nobody: the refusal is of the stage."""
  given['aligner']['latents'] = latents
  assert not settings.build(settings.Config, given).bridges
  given['stages'] = ('gan', 'diffusion', 'aligner', 'joint')
  message = r'^config\.stages: denoiser\.name=dit has no aligner for stage aligner to train$'
  with pytest.raises(ValueError, match=message):
    settings.build(settings.Config, given)


def test_an_unknown_preset_is_named():
  with pytest.raises(ValueError, match=r'configs/dit\.py:huge: no such preset; want none or small'):
    recipe.get_config('huge')


@pytest.mark.parametrize('stage', ['diffusion', 'joint', 'fewstep'])
def test_every_other_stage_trains_it(given, stage):
  given['stages'] = ('gan', 'diffusion', 'joint', 'fewstep')
  cfg = settings.build(settings.Config, given)
  state = jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))
  video = np.zeros((cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3), np.uint8)
  batch = {'video': video, 'label': np.zeros(cfg.data.batch, np.int32)}
  after, _ = jax.eval_shape(STAGES[stage].make_step(cfg), state, batch, jax.random.key(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert 'bridge' not in state.nets
  assert 'denoiser' in cfg.starts_from('joint')


@pytest.mark.long
def test_drafts_are_refined_by_it(given, tmp_path):
  given['draft']['image_share'] = 0.0
  given['evaluation'] |= dict(clips=4, batch=4, flow_clips=1, taus=())
  run.main(given, tmp_path)
  rows = json.loads((tmp_path / 'results.json').read_text())['results']
  methods = [row['method'] for row in rows]
  assert methods == ['real', 'gan', 'diffusion_frames', 'diffusion', 'hybrid']
  model = trained.Trained.load(tmp_path)
  draw = lambda method: model.draw(method, np.zeros(4, int), 0, steps=2, tau=0.5)
  drawn = [draw(method) for method in methods[1:]]
  assert model.evaluations('diffusion', 2, known=True) == 4
  assert all(clips.shape == (4, 4, 16, 16, 3) for clips in drawn)
  assert len({clips.tobytes() for clips in drawn}) == len(drawn)
  losses = [row['diffusion/loss'] for row in writer.read_rows(tmp_path) if 'diffusion/loss' in row]
  assert len(losses) == given['diffusion']['steps'] and np.isfinite(losses).all()
  trained_by = model.weights['diffusion']['denoiser'].params
  assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(trained_by)) > 0  # none is at its zeros
  assert (tmp_path / 'report' / 'index.html').exists()
