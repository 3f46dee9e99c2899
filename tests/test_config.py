"""The schema: what is refused, and how it is said."""

import pytest

from configs import base, hybrid
from hgdt_jax import settings


def _build(tiny_dict, path, value):
  *sections, name = path.split('.')
  at = tiny_dict
  for section in sections:
    at = at[section]
  at[name] = value
  return settings.build(settings.Config, tiny_dict)


def test_defaults_are_valid():
  assert settings.build(settings.Config, base.get_config().to_dict()).hybrid.tau == 0.5


def test_an_integer_passes_for_a_float_and_a_list_for_a_tuple(tiny_dict):
  assert _build(tiny_dict, 'draft.r1', 1).draft.r1 == 1.0
  assert _build(tiny_dict, 'denoiser.multipliers', [1, 2]).denoiser.multipliers == (1, 2)


def test_the_probe_is_refused_for_clips_that_it_cannot_read(tiny_dict):
  assert _build(tiny_dict, 'evaluation.metrics', ('drift_shape', 'acd_colour'))
  with pytest.raises(ValueError, match=r'evaluation\.metrics: drift_shape is read by a probe of'):
    _build(tiny_dict, 'data.source', 'folder')


@pytest.mark.parametrize(
  ('path', 'value', 'says'),
  [
    ('gan.lerning_rate', 1.0, 'config.gan.lerning_rate: no such field'),
    ('gan', 3, 'config.gan=3: want a section'),
    ('draft', 3, 'config.draft=3: want a section'),
    ('draft.name', 'vgam', "config.draft.name='vgam': want one of style"),
    ('gan.steps', 0, 'config.gan.steps=0: must be at least 1'),
    ('gan.steps', '3', "config.gan.steps='3': want int"),
    ('gan.steps', True, 'config.gan.steps=True: want int'),
    ('draft.objective', 'wasserstien', "config.draft.objective='wasserstien': want one of"),
    ('gan.augment', 'always', "config.gan.augment='always': want one of none, fixed, adaptive"),
    ('gan.noise', 1.5, 'config.gan.noise=1.5: must be at most 1'),
    ('draft.critic.convolution', '3d', "config.draft.critic.convolution='3d': want one of"),
    ('draft.generator.motion', 'lstm', "motion='lstm': want one of gru, continuous"),
    ('gan.learning_rate', 0.0, 'config.gan.learning_rate=0.0: must be above 0'),
    ('joint.critic_learning_rate', 0.0, 'config.joint.critic_learning_rate=0.0: must be above 0'),
    ('joint.refiner_rows', -1, 'config.joint.refiner_rows=-1: must be at least 0'),
    ('hybrid.tau', 1.0, 'config.hybrid.tau=1.0: must lie between'),
    ('hybrid.tau', 2, 'config.hybrid.tau=2.0: must lie between'),
    ('data.size', 24, 'config.data.size=24: must be a power of two'),
    ('denoiser.multipliers', (1, 2, 2, 2), 'cannot be halved so often'),
    ('draft.critic.frames', 99, 'config.draft.critic.frames=99: clips have data.frames=4'),
    ('denoiser.aligner_flow', 'raft', "config.denoiser.aligner_flow='raft': want one of predicted"),
    ('denoiser.aligner_direction', 'back', 'want one of causal, both'),
    ('aligner.latents', 'clear', "config.aligner.latents='clear': want one of none, clean, noised"),
    ('stages', ('gan', 'joint', 'diffusion'), 'joint takes the denoiser over; put diffusion or'),
    ('evaluation.taus', (0.5, 1.5), 'config.evaluation.taus'),
    ('dtype', 'float16', "config.dtype='float16'"),
    ('hybrid.tau', 'foo', 'config.hybrid.tau=foo: must lie between'),
    ('hybrid.tau', float('nan'), 'config.hybrid.tau=nan: want a finite number'),
    ('hybrid.spacing', 'foo', "config.hybrid.spacing='foo': want one of uniform_t"),
    ('data.source', 'youtube', "config.data.source='youtube': want one of synthetic, folder"),
    ('data.size', 8, 'config.data.size=8: must be at least 16'),  # smaller ones cannot be scored
    ('data.frames', 3, 'config.data.frames=3: must be at least 4'),
    ('evaluation.metrics', ('fvd', 'fdv'), "config.evaluation.metrics[1]='fdv': want one of fvd"),
    ('evaluation.metrics', 'fvd', "config.evaluation.metrics='fvd': want a tuple"),
    ('evaluation.taus', (0.5, '0.6'), "config.evaluation.taus[1]='0.6': want float"),
    ('evaluation.evaluations', (True,), 'config.evaluation.evaluations[0]=True: want int'),
    ('denoiser.multipliers', (), 'config.denoiser.multipliers=(): want 1 to 12 entries'),
    ('denoiser.width', 100, 'config.denoiser.width=100: 3 heads cannot share 100 features'),
    ('stages', ('gan', 'diffuse'), "config.stages[1]='diffuse': want one of gan, diffusion"),
    ('mesh.data', 0, 'config.mesh.data=0: want a number of devices'),
    ('mesh.fsdp', -1, 'config.mesh.fsdp=-1: data is -1 too'),
    ('data.target_fps', 8.0, 'config.data.target_fps=8.0: stride is 2'),
    ('data.target_fps', 1e-9, 'config.data.target_fps=1e-09: must be at least 0.1, or 0'),
  ],
)
def test_a_wrong_field_is_named_with_its_path(tiny_dict, path, value, says):
  tiny_dict['data']['stride'] = 2
  with pytest.raises(ValueError, match=r'^config\.') as caught:
    _build(tiny_dict, path, value)
  assert says in str(caught.value)


def test_a_wasserstein_critic_needs_some_penalty(tiny_dict):
  tiny_dict['draft'] |= dict(objective='wasserstein', r1=0.0, r2=0.0)
  with pytest.raises(ValueError, match=r"config\.draft\.objective='wasserstein': unbounded"):
    settings.build(settings.Config, tiny_dict)
  assert _build(tiny_dict, 'draft.interpolation_penalty', 10.0).draft.objective == 'wasserstein'


def test_tau_cannot_be_chosen_among_none(tiny_dict):
  tiny_dict['evaluation']['taus'] = ()
  with pytest.raises(ValueError, match=r'config\.evaluation\.taus=\(\): hybrid\.tau=auto'):
    _build(tiny_dict, 'hybrid.tau', 'auto')


def _with_stages(tiny_dict, stages, latents, rate):
  tiny_dict['stages'] = tuple(stages.split())
  tiny_dict['aligner'] |= dict(latents=latents, denoiser_learning_rate=rate)
  return settings.build(settings.Config, tiny_dict)


@pytest.mark.parametrize(
  ('stages', 'latents', 'says'),
  [
    ('', 'none', r'want some of gan, diffusion, .*, each once'),
    ('gan gan', 'none', 'each once'),
    ('joint', 'none', 'joint takes the generator over; put gan before it'),
    ('diffusion joint', 'none', 'joint takes the generator over; put gan before it'),
    ('joint gan diffusion', 'none', 'joint takes the generator over; put gan before it'),
    ('gan joint', 'none', 'joint takes the denoiser over; put diffusion or aligner or fewstep b'),
    ('gan fewstep', 'none', 'fewstep takes the denoiser over; put diffusion or aligner or joint'),
    (
      'gan diffusion joint aligner',
      'clean',
      'joint takes the bridge over; put aligner or fewstep before',
    ),
    ('diffusion aligner gan', 'clean', "latents='clean': the bridge learns from the drafts"),
    ('diffusion aligner', 'clean', "latents='clean': the bridge learns from the drafts"),
    ('diffusion aligner', 'noised', "latents='noised': the bridge learns from the drafts"),
    ('gan aligner', 'clean', 'denoiser_learning_rate=0: no stage before aligner trains the'),
    ('aligner', 'none', 'denoiser_learning_rate=0: no stage before aligner trains the'),
  ],
)
def test_stages_that_have_nothing_to_start_from_are_refused(tiny_dict, stages, latents, says):
  with pytest.raises(ValueError, match=rf'^config\.(stages|aligner\.).*{says}') as caught:
    _with_stages(tiny_dict, stages, latents, 0.0)
  assert '\n' not in str(caught.value)


def test_a_stage_that_would_throw_away_what_another_trained_is_refused(tiny_dict):
  with pytest.raises(ValueError, match='diffusion begins the denoiser anew, which aligner has'):
    _with_stages(tiny_dict, 'aligner diffusion', 'none', 1e-3)


def test_a_plugin_that_cannot_be_imported_is_named(tiny_dict):
  with pytest.raises(
    ValueError, match=r"config\.plugins\[0\]='no_such': No module named 'no_such'; "
  ):
    _build(tiny_dict, 'plugins', ('no_such',))


@pytest.mark.parametrize(
  ('stages', 'latents', 'rate', 'lent'),
  [
    ('diffusion aligner', 'none', 0.0, 'denoiser: diffusion'),
    ('aligner', 'none', 1e-3, ''),
    ('gan aligner', 'clean', 1e-3, 'generator: gan'),
    # What the bridge would read concerns nobody where no stage trains one.
    ('gan diffusion joint', 'clean', 0.0, 'generator: gan, critic: gan, denoiser: diffusion'),
    (
      'gan aligner joint',
      'noised',
      1e-3,
      'generator: gan, critic: gan, denoiser: aligner, bridge: aligner',
    ),
    ('diffusion fewstep', 'clean', 0.0, 'denoiser: diffusion'),
    ('gan diffusion aligner joint fewstep', 'clean', 0.0, 'denoiser: joint, bridge: joint'),
    ('diffusion gan aligner', 'clean', 0.0, 'generator: gan, denoiser: diffusion'),
    ('gan diffusion joint aligner', 'none', 0.0, 'generator: joint, denoiser: joint'),
  ],
)
def test_the_last_stage_starts_from_the_last_that_trained_each_network(
  tiny_dict, stages, latents, rate, lent
):
  cfg = _with_stages(tiny_dict, stages, latents, rate)
  found = cfg.starts_from(cfg.stages[-1])
  assert ', '.join(f'{network}: {stage}' for network, stage in found.items()) == lent
  assert cfg.aligns == ('aligner' in stages)
  assert cfg.bridges == (cfg.aligns and latents != 'none')


def test_a_missing_field_is_named(tiny_dict):
  del tiny_dict['joint']['steps']
  with pytest.raises(ValueError, match=r'config\.joint\.steps: missing'):
    settings.build(settings.Config, tiny_dict)


def test_an_unknown_preset_is_named():
  with pytest.raises(
    ValueError, match='no such preset; want small, synthetic, bench, gpu, tpu, tpu_pod'
  ):
    hybrid.get_config('huge')
