"""Every field of the configuration: what it refuses, and what it is where an old run lacks it.

A new field is in here by itself. One of which every value is legal, or that may be 0, has to be
named below.
"""

import copy
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing

import pytest

from configs import base, zoo
from hgdt_jax import run, schema, settings
from hgdt_jax.gans import GANS

ROOT = pathlib.Path(__file__).parents[1]
ANY_VALUE = {  # of their type
  *('data.path', 'data.labels', 'evaluation.weights'),  # where files lie
  *('data.flip', 'denoiser.remat'),
  *('draft.critic.minibatch_stddev', 'draft.critic.spectral_norm'),
}
MAY_BE_0 = {
  'seed',
  *('data.target_fps', 'data.windows', 'data.max_bad', 'data.test_share', 'data.jitter'),
  *('data.classes', 'data.workers'),
  *('denoiser.space_attention', 'denoiser.time_attention', 'denoiser.aligner_radius'),
  *('draft.r1', 'draft.r2', 'draft.interpolation_penalty', 'draft.image_share'),
  *('draft.image_weight', 'gan.augment_probability', 'gan.augment_target', 'gan.noise'),
  'gan.ema_decay',
  *('diffusion.warmup', 'diffusion.ema_decay', 'diffusion.low_noise_share'),
  *('diffusion.frames_share', 'diffusion.label_dropout', 'diffusion.noise_correlation'),
  *('diffusion.times_mean', 'diffusion.weight_bias'),
  *('optimiser.b1', 'optimiser.b2', 'optimiser.weight_decay'),
  *('aligner.denoiser_learning_rate', 'aligner.latent_dropout', 'aligner.flow_weight'),
  *('aligner.consistency_weight', 'aligner.bridge_weight', 'aligner.hidden_price'),
  *('joint.denoiser_learning_rate', 'joint.clean_share', 'joint.refiner_rows'),
  *('fewstep.denoising_weight', 'fewstep.ema_decay'),
  *('guard.rollbacks', 'guard.motion', 'guard.diversity', 'guard.d_loss'),
  'evaluation.checks',
}
MAY_BE_0_OF = {  # drafts of other families
  'vgan': {'mask_weight', 'image_weight'},
  'mocogan': {'noise', 'init_deviation'},
  'imaginator': {'l1_weight'},
}
NAN, INF = float('nan'), float('inf')
WRONG_TYPE = {  # values of each type's place that are of another
  int: (1.5, '1', True, None, (1,)),
  float: ('1.0', True, None, (1.0,)),
  str: (1, None, True, ('x',)),
  bool: (1, 0.0, 'True', None),
  tuple: ('abc', 1, None, True, {}),
}
ABSURD = {
  int: (-7, 10**30, -(10**30)),
  float: (NAN, INF, -INF, -7.0, 1e30, 10**400),
  str: ('no such choice', ''),
}

DEFAULT = base.get_config()


def _fields(cls=settings.Config, path=''):
  """(path, plain type, type of the entries of a tuple) of every field."""
  for field in dataclasses.fields(cls):
    where = f'{path}{field.name}'
    section = field.type
    if isinstance(section, schema.Chosen):
      section = section.registry[getattr(DEFAULT, field.name).name].settings
    if dataclasses.is_dataclass(section):
      yield from _fields(section, f'{where}.')
    else:
      kind, entry = _plain(field.type), None
      if typing.get_origin(kind) is tuple:
        kind, entry = tuple, _plain(typing.get_args(kind)[0])
      yield where, kind, entry


def _plain(kind):
  return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _refused(fields, may_be_0):
  """(path, value) of whatever must not be accepted."""
  for path, kind, entry in fields:
    if kind == float | str:  # hybrid.tau
      values = (*ABSURD[float], *ABSURD[str], True, None, (0.5,), 0.0)
    else:
      values = WRONG_TYPE[kind]
      if path not in ANY_VALUE:
        values += ABSURD.get(kind, ())
      if kind in (int, float) and path not in may_be_0:
        values += (kind(0),)
    for value in values:
      yield path, value
    if entry:
      for value in (*WRONG_TYPE[entry], *ABSURD[entry]):
        yield path, (value,)


FIELDS = list(_fields())
REFUSED = list(_refused(FIELDS, MAY_BE_0))


def _changed(given, path, value):
  *sections, name = path.split('.')
  given = copy.deepcopy(given)
  at = given
  for section in sections:
    at = at[section]
  at[name] = value
  return given


def test_the_lists_above_name_fields():
  kinds = {path: kind for path, kind, _ in FIELDS}
  assert kinds.keys() >= ANY_VALUE | MAY_BE_0
  assert {path for path, kind in kinds.items() if kind is bool} <= ANY_VALUE
  assert len(FIELDS) >= 113


@pytest.mark.parametrize('path', [path for path, _, _ in FIELDS])
def test_whatever_a_field_cannot_be_is_refused_by_its_name(tiny_dict, tmp_path, path):
  """Before anything is made in the workdir."""
  for value in (value for refused, value in REFUSED if refused == path):
    with pytest.raises(ValueError, match=r'^config\.') as caught:
      run.main(_changed(tiny_dict, path, value), tmp_path / 'run')
    assert str(caught.value).startswith((f'config.{path}=', f'config.{path}[0]=')), value
    assert '\n' not in str(caught.value)
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('family', MAY_BE_0_OF)
def test_so_is_it_in_the_drafts_of_the_zoo(family):
  given = zoo.get_config(f'{family},small').to_dict()
  fields, may_be_0 = list(_fields(GANS[family].settings)), MAY_BE_0_OF[family]
  assert {path for path, _, _ in fields} == given['draft'].keys() >= may_be_0
  for path, value in _refused(fields, may_be_0):
    with pytest.raises(ValueError, match=rf'^config\.draft\.{path}(\[0\])?='):
      settings.build(settings.Config, _changed(given, f'draft.{path}', value))
  for path in may_be_0:
    settings.build(settings.Config, _changed(given, f'draft.{path}', 0))


@pytest.mark.parametrize('path', sorted(MAY_BE_0))
def test_fields_that_may_be_0(tiny_dict, path):
  settings.build(settings.Config, _changed(tiny_dict, path, 0))


# Runs the verb once for each command line, in children of a process that has imported all.
_VERB_FOR_EACH = """
import gc, json, os, runpy, signal, sys, tempfile, warnings
warnings.simplefilter('ignore')  # jax on forks; nothing has started a thread yet
import hgdt_jax.cli, hgdt_jax.run
gc.freeze()
for arguments in json.load(sys.stdin):
  with tempfile.TemporaryFile() as said:
    child = os.fork()
    if not child:
      signal.alarm(60)  # of a run that was not refused
      os.dup2(said.fileno(), 2)
      os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
      sys.argv = ['hgdt_jax/main.py', *arguments]
      code = 0
      try:
        runpy.run_module('hgdt_jax.main', run_name='__main__')
      except SystemExit as left:
        code = left.code or 0
      except BaseException:
        code = 70
      sys.stderr.flush()
      os._exit(code)
    _, status = os.waitpid(child, 0)
    said.seek(0)
    answer = [arguments, os.waitstatus_to_exitcode(status), said.read().decode()]
    print(json.dumps(answer), flush=True)
"""


def test_the_verb_refuses_every_field_in_one_line(tmp_path):
  """As a user sets them. A field of which any value is legal is given one of another type."""
  workdir = tmp_path / 'run'
  values = {bool: 'maybe', tuple: "('?',)", int: '-7', float: 'nan', str: '?'}
  fields = {path: values.get(kind, '?') for path, kind, _ in FIELDS}
  for path in ('data.path', 'data.labels', 'evaluation.weights'):
    del fields[path]  # every text is one
  arguments = [[f'--workdir={workdir}', f'--config.{path}={fields[path]}'] for path in fields]
  done = subprocess.run(
    [sys.executable, '-c', _VERB_FOR_EACH],
    input=json.dumps(arguments),
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )
  answers = [json.loads(line) for line in done.stdout.splitlines()]
  assert [answer[0] for answer in answers] == arguments, done.stderr
  for (_, argument), code, said in answers:
    path = argument.removeprefix('--').partition('=')[0]
    lines = [line for line in said.splitlines() if line.strip()]
    assert code in (1, 2) and len(lines) == 1 and path in lines[0], (argument, code, said)
  assert not workdir.exists()


BASE = base.get_config().to_dict()


def _without(given, path):
  *sections, name = path.split('.')
  given = copy.deepcopy(given)
  at = given
  for section in sections:
    at = at[section]
  del at[name]
  return given


@pytest.mark.parametrize('path', [path for path, _, _ in FIELDS])
def test_a_field_that_an_old_run_lacks_has_its_default(path):
  """And all others what the run had."""
  old = _changed(_changed(BASE, 'log_every', 3), 'gan.steps', 5)
  built = settings.build(settings.Config, _without(old, path), defaults=BASE)
  want = {'log_every': 3, 'gan.steps': 5} | {path: None}
  for field, _, _ in FIELDS:
    value, default = built, BASE
    for name in field.split('.'):
      value, default = getattr(value, name), default[name]
    expected = default if want.get(field) is None else want[field]
    assert value == expected, field
  with pytest.raises(ValueError, match=f'config.{path}: missing'):
    settings.build(settings.Config, _without(old, path))


@pytest.mark.parametrize('section', [n for n, v in BASE.items() if isinstance(v, dict)])
def test_a_section_that_an_old_run_lacks_has_its_defaults(section):
  built = settings.build(settings.Config, _without(BASE, section), defaults=BASE)
  assert built == settings.build(settings.Config, BASE)


def test_defaults_hide_neither_unknown_nor_impossible_fields():
  for path, value, says in (
    ('gan.lerning_rate', 1.0, 'config.gan.lerning_rate: no such field'),
    ('gan.steps', 0, 'config.gan.steps=0'),
    ('gan', 3, 'config.gan=3: want a section'),
  ):
    with pytest.raises(ValueError, match=says):
      settings.build(settings.Config, _changed(BASE, path, value), defaults=BASE)
