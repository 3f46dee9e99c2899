"""Imports point one way, every module imports, and every configuration field is read."""

import ast
import dataclasses
import importlib
import pathlib
import re

import pytest

from configs import hybrid, weizmann
from hgdt_jax import config

ROOT = pathlib.Path(__file__).parents[1]
CODE = sorted([*ROOT.glob('hgdt_jax/**/*.py'), *ROOT.glob('input_pipeline/**/*.py')])
WATCHED = ('jax', 'flax', 'optax', 'ml_collections', 'hgdt_jax', 'configs', 'input_pipeline')

# Of WATCHED, a package may import these only.
MAY_IMPORT = {
  'input_pipeline': ['input_pipeline'],
  'configs': ['configs', 'ml_collections'],
  'hgdt_jax/models': ['jax', 'flax', 'hgdt_jax.models', 'hgdt_jax.shapes', 'hgdt_jax.warp'],
  'hgdt_jax/diffusion': ['jax', 'hgdt_jax.diffusion', 'hgdt_jax.shapes', 'hgdt_jax.rng'],
  'hgdt_jax/losses': ['jax', 'hgdt_jax.losses', 'hgdt_jax.warp'],
  'hgdt_jax/metrics': ['jax', 'flax', 'hgdt_jax.metrics'],
  'hgdt_jax/sampling': ['jax', 'hgdt_jax.diffusion', 'hgdt_jax.rng', 'hgdt_jax.sampling'],
  'hgdt_jax/report': ['hgdt_jax.report', 'hgdt_jax.writer', 'hgdt_jax.sampling.clips'],
  'hgdt_jax/train.py': [
    'jax',
    *(f'hgdt_jax.{name}' for name in ('checkpoint', 'guards', 'sharding', 'writer')),
  ],
  'hgdt_jax/guards.py': [],
  'hgdt_jax/checkpoint.py': ['jax'],
  'hgdt_jax/augment.py': ['jax'],
  'hgdt_jax/stages': [
    *('jax', 'flax', 'optax'),
    *(f'hgdt_jax.{name}' for name in ('models', 'diffusion', 'losses', 'stages')),
    *(f'hgdt_jax.{name}' for name in ('augment', 'config', 'rng', 'sharding', 'state')),
  ],
}
VERBS = ('hgdt_jax.main', 'hgdt_jax.sample', 'hgdt_jax.evaluate')


def _imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('place', MAY_IMPORT)
def test_imports_point_one_way(place):
  where = ROOT / place
  files = [where] if where.is_file() else sorted(where.rglob('*.py'))
  assert files
  for path in files:
    for name in _imports(path):
      allowed = any((name + '.').startswith(p + '.') for p in MAY_IMPORT[place])
      assert allowed or name.split('.')[0] not in WATCHED, f'{path}: must not import {name}'


def test_nothing_imports_a_verb_or_the_composition_root():
  for path in CODE:
    for name in _imports(path):
      assert not name.startswith(VERBS), f'{path}: must not import {name}'
      if path.name not in ('main.py', 'sample.py'):
        assert name != 'hgdt_jax.run', f'{path}: must not import {name}'


def test_only_verbs_define_flags():
  verbs = {'main.py', 'sample.py', 'evaluate.py', 'cli.py'}
  for path in CODE:
    if path.name not in verbs:
      assert not any(name.startswith('absl.flags') for name in _imports(path)), path


@pytest.mark.parametrize('path', CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_imports(path):
  if path.name in ('__main__.py', 'main.py', 'sample.py', 'evaluate.py'):
    pytest.skip('defines flags; run as a process in test_command_line.py')
  importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts))


def test_every_config_field_is_read():
  """A field that no code reads is a setting that does nothing."""
  code = '\n'.join(p.read_text() for p in CODE if p.name != 'config.py')
  sections = [f for f in dataclasses.fields(config.Config) if dataclasses.is_dataclass(f.type)]
  whole = {'generator', 'critic', 'denoiser', 'bridge'}  # handed on by dataclasses.asdict
  for section in sections:
    for field in dataclasses.fields(section.type):
      if section.name not in whole:
        assert re.search(rf'\.{field.name}\b', code), f'config.{section.name}.{field.name}'


RECIPES = [(recipe, preset) for recipe in (hybrid, weizmann) for preset in recipe.PRESETS]


@pytest.mark.parametrize(('recipe', 'preset'), RECIPES)
def test_every_preset_is_a_valid_configuration(recipe, preset):
  built = config.build(config.Config, recipe.get_config(preset).to_dict())
  assert built.stages == ('gan', 'diffusion', 'aligner', 'joint')
