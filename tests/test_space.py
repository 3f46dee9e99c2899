"""The denoiser in another space than that of pixels: means of squares of 2x2."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import autoencoders, run, settings, trained
from hgdt_jax.autoencoders.types import Family
from hgdt_jax.denoisers.unet3d import UNet3D
from hgdt_jax.drawing import Known
from hgdt_jax.models import layers
from hgdt_jax.models.bridge import Bridge
from hgdt_jax.stages import STAGES, joint
from hgdt_jax.state import TrainState

pytestmark = pytest.mark.long
T, SIZE = 4, 16


@dataclasses.dataclass(frozen=True)
class Settings:
  name: str

  learns = False

  def of(self, clip):
    return clip._replace(size=clip.size // 2)

  def misfits(self, size, frames):
    if size % 2:
      yield f'name={self.name}: data.size={size} is odd'


class Pooled(nn.Module):
  def encode(self, clip):
    return layers.unfold(nn.avg_pool(layers.fold(clip), (2, 2), (2, 2)), clip.shape[1])

  def decode(self, latent):
    return jnp.repeat(jnp.repeat(latent, 2, axis=2), 2, axis=3)


@pytest.fixture(scope='module')
def pooled():
  with pytest.MonkeyPatch.context() as patch:
    family = Family('means of squares', Settings, lambda settings, **_: Pooled())
    patch.setitem(autoencoders.AUTOENCODERS, 'pooled', family)
    yield


@pytest.fixture(scope='module')
def given(smallest, pooled):
  given = smallest()
  given['space'] = {'name': 'pooled'}
  given['denoiser'] |= dict(patch=2, space_attention=0)
  given['bridge']['patch'] = 2
  given['draft']['critic'] |= dict(frame_patch=2, clip_patch=2)
  given['aligner']['latents'] = 'noised'
  given['stages'] = ('gan', 'diffusion', 'aligner')
  given['evaluation']['checks'] = 0
  return given


@pytest.fixture(scope='module')
def workdir(given, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('pooled')
  run.train_stages(given, workdir)
  return workdir


@pytest.fixture(scope='module')
def model(workdir):
  return trained.Trained.load(workdir)


def is_in_squares(clips):
  """Whether each square of 2x2 pixels is of one colour, as all that was decoded is."""
  n, t, size, _, c = clips.shape
  squares = clips.reshape(n, t, size // 2, 2, size // 2, 2, c)
  return (squares == squares[:, :, :, :1, :, :1]).all()


def draw(model, method, **options):
  return model.draw(method, np.arange(4) % 4, 0, **{'steps': 2, 'tau': 0.5} | options)


@pytest.mark.parametrize('method', ['diffusion', 'hybrid'])
def test_what_is_refined_is_decoded(model, method):
  clips = draw(model, method)
  assert clips.shape == (4, T, SIZE, SIZE, 3) and is_in_squares(clips)


def test_a_draft_is_of_pixels(model):
  assert not is_in_squares(draw(model, 'gan'))


def test_the_denoiser_sees_latents_and_its_drafts_are_encoded(model, monkeypatch):
  seen, walk = [], model.drawing.walk

  def watched(nets, one, key, **options):
    seen.append(one)
    return walk(nets, one, key, **options)

  monkeypatch.setattr(model.drawing, 'walk', watched)
  draw(model, 'hybrid', tau=1e-4)
  start = seen[0].start
  assert start.shape == (4, T, SIZE // 2, SIZE // 2, 3)
  drafts = jnp.array(draw(model, 'draft')) / 127.5 - 1
  np.testing.assert_allclose(start, Pooled().encode(drafts), atol=0.02)


def test_a_clip_at_almost_no_noise_comes_back_as_its_latent_shows_it(model):
  clips = np.random.default_rng(0).integers(0, 256, (4, T, SIZE, SIZE, 3), np.uint8)
  back = model.refine('diffusion', clips, np.zeros(4, int), 0, steps=1, tau=1e-4)
  shown = Pooled().decode(Pooled().encode(jnp.array(clips, jnp.float32)))
  assert np.abs(back - np.asarray(shown)).max() < 4
  noisy = model.clips_at(clips, 0, 1e-4)  # at a third of the contrast
  np.testing.assert_allclose(noisy - 127.5, (shown - 127.5) / 3, atol=2)
  assert is_in_squares(noisy)


@pytest.mark.parametrize('method', ['diffusion', 'hybrid'])
def test_it_goes_on_from_a_first_frame(model, method):
  frame = np.zeros((1, SIZE, SIZE, 3), np.uint8)
  frame[:, : SIZE // 2] = 255
  with_it, without = (
    draw(model, method, steps=8, known=known)[:, 0].astype(int)
    for known in (Known(frame, (0,)), None)
  )
  distance = lambda clips: np.abs(clips - frame).mean()
  assert is_in_squares(with_it[:, None]) and distance(with_it) < 0.5 * distance(without)


def test_longer_clips_are_walked_in_windows_of_latents(model):
  clips = draw(model, 'hybrid', frames=2 * T)
  assert clips.shape == (4, 2 * T, SIZE, SIZE, 3) and is_in_squares(clips)


def test_judges_of_joint_see_diffused_latents_decoded(model, monkeypatch):
  def play(judges, nets, txs, scene, **_):
    return {}, None, {'shown': scene.hide('real', jnp.ones((8, T, SIZE, SIZE, 3)))}

  monkeypatch.setattr(joint.game, 'play', play)
  cfg = dataclasses.replace(model.cfg, joint=dataclasses.replace(model.cfg.joint, refiner_rows=0))
  batch = {'video': jnp.zeros((8, T, SIZE, SIZE, 3), jnp.uint8), 'label': jnp.zeros(8, jnp.int32)}
  state = TrainState.create(**model.weights['gan'], **model.weights['aligner'])
  _, metrics = joint.make_step(cfg)(state, batch, jax.random.key(0))
  assert metrics['joint/shown'].std() > 0.1 and is_in_squares(metrics['joint/shown'])


@pytest.mark.parametrize('stage', STAGES)
def test_in_every_stage_denoiser_and_bridge_see_latents(model, stage, monkeypatch):
  seen, cfg = set(), model.cfg
  for network in (UNet3D, Bridge):

    def watched(self, x, *args, called=network.__call__):
      seen.add((type(self), x.shape[2:]))
      return called(self, x, *args)

    monkeypatch.setattr(network, '__call__', watched)
  state = jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))
  batch = {'video': jnp.zeros((8, T, SIZE, SIZE, 3), jnp.uint8), 'label': jnp.zeros(8, jnp.int32)}
  after, _ = jax.eval_shape(STAGES[stage].make_step(cfg), state, batch, jax.random.key(0))
  assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  latent = (SIZE // 2, SIZE // 2, 3)
  assert seen <= {(UNet3D, latent), (Bridge, latent)}
  assert bool(seen) == (stage != 'gan')


@pytest.mark.parametrize(
  'section, values, says',
  [
    ('space', {'name': 'vae'}, r'config\.space\.name=.vae.: want one of pixels, pooled'),
    ('denoiser', {'multipliers': (1, 2, 2)}, '8x8 cannot be halved so often'),
    ('bridge', {'patch': 4}, 'bridge.patch=4: 8x8 leaves maps under 4x4'),
    ('draft.critic', {'frame_patch': 4}, 'draft.critic.frame_patch=4: 8x8 leaves maps'),
  ],
)
def test_what_does_not_fit_the_space_is_refused(given, section, values, says):
  given = json.loads(json.dumps(given)) | {'stages': (*given['stages'], 'fewstep')}
  part = given
  for name in section.split('.'):
    part = part[name]
  part |= values
  with pytest.raises(ValueError, match=says):
    settings.build(settings.Config, given)
