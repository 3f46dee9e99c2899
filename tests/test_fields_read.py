"""Every configuration field is read, by a run that notes it, and every preset is valid."""

import collections
import dataclasses
import functools
import sys

import jax
import numpy as np
import pytest

from configs import base, dit, gestures, hybrid, paper, weizmann, zoo
from hgdt_jax import report, run, schema, settings, writer
from hgdt_jax.denoisers.dit import DiT
from hgdt_jax.denoisers.dit import make as make_dit
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.denoisers.unet3d import UNet3D
from hgdt_jax.gans.style.critic import Critic
from hgdt_jax.gans.style.generator import Generator
from hgdt_jax.metrics import random_features, table
from hgdt_jax.models.bridge import Bridge
from hgdt_jax.sampling import hybrid as walks
from hgdt_jax.stages import denoising, gan

NETWORKS = ('hgdt_jax.models.', 'hgdt_jax.gans.', 'hgdt_jax.denoisers.')
DEFAULT = base.get_config()
CHECKS = ('dataclasses', 'copy', 'hgdt_jax.settings', 'hgdt_jax.schema')  # their reading is no use
# Nor is theirs.
CHECKED = ('__init__', '__eq__', '__hash__', '__repr__', 'problems', '_problems', 'misfits')
HANDED_ON = {
  'draft.generator': Generator,
  'draft.critic': Critic,
  'denoiser': UNet3D,
  'bridge': Bridge,
}
UNREAD = {  # and why
  'gan.fake': 'put in by the test: such a field is found',
  'plugins': 'acted on before there is a configuration',
}


def _noting(cls, fields, note, by):
  """A `__getattribute__` for `cls`: `note(field)` where a module that `by` lets through reads it.

  What dataclasses generate, to compare, hash and show, lies in the module of the class.
  """
  before, generated = cls.__getattribute__, CHECKED

  def read(self, name):
    frame = sys._getframe(1)
    module = frame.f_globals.get('__name__', '')  # what checks annotations is in none
    if name in fields and frame.f_code.co_name not in generated and by(module):
      note(name)
    return before(self, name)

  return read


def _watched(cls, note, path=''):
  """`cls`, a configuration, whose instances note the path of every field that is used."""

  def kind(field):
    if isinstance(field.type, schema.Chosen):
      watched = lambda family: _watched(family.settings, note, f'{path}{field.name}.')
      families = field.type.registry.items()
      return schema.Chosen({n: one._replace(settings=watched(one)) for n, one in families})
    is_section = dataclasses.is_dataclass(field.type)
    return _watched(field.type, note, f'{path}{field.name}.') if is_section else field.type

  changed = [(field.name, kind(field)) for field in dataclasses.fields(cls)]
  watched = dataclasses.make_dataclass(
    cls.__name__, changed, bases=(cls,), frozen=True, eq=False, repr=False
  )
  used, by = lambda name: note(path + name), lambda module: module not in CHECKS
  watched.__getattribute__ = _noting(cls, dict(changed), used, by)
  return watched


def _paths(cls, path=''):
  for field in dataclasses.fields(cls):
    section = field.type
    if isinstance(section, schema.Chosen):
      section = section.registry[getattr(DEFAULT, field.name).name].settings
    if dataclasses.is_dataclass(section):
      yield from _paths(section, f'{path}{field.name}.')
    else:
      yield f'{path}{field.name}'


def _shapes_only(patch):
  """Nothing is compiled: a program is traced, without derivatives and walks, for what it reads.

  Its results have the right shapes. Walks read what they are given, and no configuration.
  """
  jit, rng = jax.jit, np.random.default_rng(0)
  zeros = lambda tree: jax.tree.map(jax.numpy.zeros_like, tree)

  def some(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.key(0)
    most = 256 if leaf.dtype == np.uint8 else 1  # clips of noise, for scores need some contrast
    return jax.numpy.asarray(rng.integers(0, most, leaf.shape), leaf.dtype)

  def traced(function, **options):
    program = jit(function, **options)
    run = lambda *args, **kwargs: jax.tree.map(some, program.eval_shape(*args, **kwargs))
    run.lower = lambda *_: run
    run.compile = lambda: run
    return run

  def value_and_grad(function, has_aux=False):
    return lambda x, *args: (function(x, *args), zeros(x))

  def grad(function, has_aux=False):
    return lambda x, *args: (zeros(x), function(x, *args)[1]) if has_aux else zeros(x)

  def vjp(function, *args, has_aux=False):
    value, aux = function(*args)
    return value, lambda towards: zeros(args), aux

  for replaced in (value_and_grad, grad, vjp):
    patch.setattr(jax, replaced.__name__, replaced)
  patch.setattr(jax, 'jit', traced)
  patch.setattr(walks, 'walk', lambda recipe, denoise, start, *_, **__: start)
  # Or its scores, which are none, would be those of the tests after this one.
  patch.setattr(random_features, '_runner', functools.cache(random_features._runner.__wrapped__))


def _unread(given, workdir, monkeypatch, cls):
  """Paths of the fields of `cls` that a run of `given` does not use."""
  read = collections.Counter()
  with monkeypatch.context() as patch:
    watched = _watched(cls, lambda path: read.update([path]))
    patch.setattr(settings, 'Config', watched)
    for section, network in HANDED_ON.items():
      used = lambda name, section=section: read.update([f'{section}.{name}'])
      by = lambda module: module.startswith(NETWORKS)
      patch.setattr(
        network, '__getattribute__', _noting(network, network.__dataclass_fields__, used, by)
      )
    _shapes_only(patch)
    patch.setattr(report, 'build', lambda workdir: workdir)
    patch.setattr(writer, 'make_writers', lambda workdir: [])
    run.main(given, workdir)
  return sorted(set(_paths(cls)) - read.keys())


@pytest.fixture
def every_part(tiny_dict):
  """The smallest configuration, with whatever can be switched on."""
  changes = {
    'bridge': dict(patch=2),
    'gan': dict(augment='adaptive', noise=0.1),
    'guard': dict(action='rollback'),
    'evaluation': dict(clips=4, batch=4, flow_clips=1, checks=0, metrics=('psnr',)),
    'checkpoint': dict(every=100),
  }
  for section, values in changes.items():
    tiny_dict[section] |= values
  tiny_dict['draft']['generator'] |= dict(motion='continuous', motion_interval=2)
  tiny_dict['draft']['critic'] |= dict(spectral_norm=True, minibatch_stddev=True)
  for stage in settings.STAGES:
    tiny_dict[stage]['steps'] = 1
  return tiny_dict


@pytest.mark.long
def test_every_config_field_is_read(every_part, tmp_path, monkeypatch):
  """A field that no code reads is a setting that does nothing."""
  changed = lambda cls, **fields: dataclasses.make_dataclass(
    cls.__name__, fields.items(), bases=(cls,), frozen=True
  )
  with_fake = changed(settings.Config, gan=changed(gan.Settings, fake=int))
  every_part['gan']['fake'] = 0
  unread = _unread(every_part, tmp_path / 'run', monkeypatch, with_fake)
  assert set(unread) == UNREAD.keys()


def test_to_check_copy_or_hand_on_a_field_is_not_to_read_it(tiny_dict):
  read = []
  cfg = settings.build(_watched(settings.Config, read.append), tiny_dict)
  data, critic = cfg.data, cfg.draft.critic
  read.clear()
  settings.as_dict(cfg)
  dataclasses.asdict(critic)
  dataclasses.replace(cfg, data=dataclasses.replace(data, classes=2))
  assert cfg == cfg and hash(cfg) and repr(cfg) and not read
  assert cfg.draft.r1 and read == ['draft', 'draft.r1']


def test_a_network_reads_a_field_where_it_acts_on_it(tiny, monkeypatch):
  read = set()
  fields, by = dataclasses.asdict(tiny.bridge), lambda module: module.startswith('hgdt_jax.models.')
  monkeypatch.setattr(Bridge, '__getattribute__', _noting(Bridge, fields, read.add, by))
  bridge = Bridge(latent_size=8, **dataclasses.asdict(tiny.bridge))
  clip = jax.ShapeDtypeStruct((1, 4, 16, 16, 3), np.float32)
  t = jax.ShapeDtypeStruct((1,), np.float32)
  assert bridge == bridge.clone() and hash(bridge) and repr(bridge) and not read
  jax.eval_shape(bridge.init, jax.random.key(0), clip, t)
  assert read == {'width', 'patch'}  # maps are of 4x4 at once: nothing asks for their most


def test_the_transformer_reads_each_of_its_fields(monkeypatch):
  section = settings.build(settings.Config, dit.get_config('small').to_dict()).denoiser
  read, by = set(), lambda module: module.startswith(NETWORKS)
  fields = dataclasses.asdict(section).keys() - {'name'}
  monkeypatch.setattr(DiT, '__getattribute__', _noting(DiT, fields, read.add, by))
  network = make_dit(section, channels=3, latent_size=0, classes=0, dtype=np.float32)
  assert not read
  clip, told = np.zeros((1, 4, 16, 16, 3)), Condition.plain(np.zeros(1, int), 4, 0)
  jax.eval_shape(network.init, jax.random.key(0), clip, np.zeros(1), told, np.ones(1))
  assert read == fields


@pytest.mark.parametrize('preset', [preset for preset in zoo.PRESETS if preset.endswith('small')])
def test_a_draft_of_the_zoo_reads_each_of_its_fields(preset):
  given = zoo.get_config(preset).to_dict()
  given['data']['classes'] = 3
  read = []
  cfg = settings.build(_watched(settings.Config, read.append), given)
  read.clear()
  state = jax.eval_shape(lambda key: gan.init(cfg, key), jax.random.key(0))
  video = np.zeros((cfg.data.batch, cfg.data.frames, cfg.data.size, cfg.data.size, 3), np.uint8)
  batch = {'video': video, 'label': np.zeros(cfg.data.batch, np.int32)}
  jax.eval_shape(gan.make_step(cfg), state, batch, jax.random.key(0))
  assert {f'draft.{name}' for name in dataclasses.asdict(cfg.draft)} <= set(read)


RECIPES = [
  (recipe, preset)
  for recipe in (dit, gestures, hybrid, paper, weizmann, zoo)
  for preset in recipe.PRESETS
]


@pytest.mark.parametrize(('recipe', 'preset'), RECIPES)
def test_every_preset_is_a_valid_configuration(recipe, preset):
  built = settings.build(settings.Config, recipe.get_config(preset).to_dict())
  left_out = {paper: ('joint', 'fewstep'), dit: ('aligner', 'fewstep')}.get(recipe, ('fewstep',))
  assert built.stages == tuple(stage for stage in settings.STAGES if stage not in left_out)


@pytest.mark.parametrize('preset', paper.PRESETS)
def test_the_paper_ties_frames_by_the_aligner_alone(preset):
  """No row is ever trained with time mixing, and GAN and denoiser are frozen beside it."""
  built = settings.build(settings.Config, paper.get_config(preset).to_dict())
  assert not denoising.mixing(built, built.data.batch).any()
  assert built.bridges and built.aligner.denoiser_learning_rate == 0


def test_the_bench_preset_is_long_and_large_enough_for_the_scores_it_names():
  """I3D asks for 16 frames, and as many clips have to be held out as are scored."""
  built = settings.build(settings.Config, hybrid.get_config('bench').to_dict())
  assert built.data.frames >= 16 and built.denoiser.time_attention >= 16
  assert built.data.clips >= built.evaluation.clips == 2048
  assert built.evaluation.clips > max(table.find(n).least for n in built.evaluation.metrics)
