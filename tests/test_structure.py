"""Imports point one way, every module imports, and a wheel holds what lies beside the code."""

import ast
import importlib
import pathlib
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
  p for top in ('hgdt_jax', 'input_pipeline', 'configs') for p in ROOT.glob(f'{top}/**/*.*')
)
CODE = [path for path in FILES if path.suffix == '.py']
WATCHED = ('jax', 'flax', 'optax', 'ml_collections', 'hgdt_jax', 'configs', 'input_pipeline')

# Of WATCHED, a module may import these and what lies in them; so may all modules of a package. The
# most particular rule holds, and a module without one is an error.
MAY_IMPORT = {
  'configs': 'configs ml_collections',
  'input_pipeline': 'input_pipeline',
  # Without a device, for verbs before their flags are parsed and for those who only read.
  'hgdt_jax': 'hgdt_jax.api',  # when it is asked for
  'hgdt_jax.atomic': '',
  'hgdt_jax.cli': 'ml_collections hgdt_jax.guards hgdt_jax.interrupts',
  'hgdt_jax.fields': 'hgdt_jax.schema',
  'hgdt_jax.guards': '',
  'hgdt_jax.interrupts': '',
  'hgdt_jax.lock': '',
  'hgdt_jax.schema': '',
  'hgdt_jax.writer': 'jax',
  'hgdt_jax.methods': '',
  'hgdt_jax.request': '',
  'hgdt_jax.report': (
    'hgdt_jax.atomic hgdt_jax.methods hgdt_jax.report hgdt_jax.writer hgdt_jax.sampling.clips '
    'input_pipeline.video_files'
  ),
  # Pieces that know no configuration.
  'hgdt_jax.checkpoint': 'jax hgdt_jax.atomic hgdt_jax.processes',
  'hgdt_jax.costs': 'jax',
  'hgdt_jax.effort': 'jax',
  'hgdt_jax.machine': 'jax',
  'hgdt_jax.pixels': 'jax',
  'hgdt_jax.processes': 'jax',
  'hgdt_jax.rng': 'jax',
  'hgdt_jax.space': '',
  'hgdt_jax.sharding': 'jax',
  'hgdt_jax.state': 'jax flax optax hgdt_jax.sharding',
  'hgdt_jax.topologies': 'jax',
  'hgdt_jax.warp': 'jax',
  'hgdt_jax.diffusion': 'jax hgdt_jax.diffusion hgdt_jax.rng',
  'hgdt_jax.losses': 'jax optax hgdt_jax.losses hgdt_jax.warp',
  'hgdt_jax.metrics': 'jax flax hgdt_jax.metrics',
  'hgdt_jax.gans': (
    'jax flax optax hgdt_jax.fields hgdt_jax.gans hgdt_jax.losses hgdt_jax.models hgdt_jax.schema '
    'hgdt_jax.sharding hgdt_jax.space hgdt_jax.state hgdt_jax.warp'
  ),
  'hgdt_jax.autoencoders': 'jax flax hgdt_jax.autoencoders hgdt_jax.space',
  'hgdt_jax.denoisers': (
    'jax flax hgdt_jax.denoisers hgdt_jax.fields hgdt_jax.models hgdt_jax.schema hgdt_jax.warp'
  ),
  'hgdt_jax.models': 'jax flax hgdt_jax.models hgdt_jax.warp',
  'hgdt_jax.sampling': 'jax hgdt_jax.atomic hgdt_jax.diffusion hgdt_jax.rng hgdt_jax.sampling',
  'hgdt_jax.clip_decoder': 'input_pipeline',
  'hgdt_jax.clip_sides': 'input_pipeline',
  'hgdt_jax.pairing': '',
  'hgdt_jax.clip_folders': (
    'input_pipeline hgdt_jax.clip_decoder hgdt_jax.clip_sides hgdt_jax.metrics hgdt_jax.pairing'
  ),
  'hgdt_jax.scoring': (
    'jax hgdt_jax.atomic hgdt_jax.clip_decoder hgdt_jax.clip_folders hgdt_jax.clip_sides '
    'hgdt_jax.machine hgdt_jax.metrics hgdt_jax.pairing'
  ),
  'hgdt_jax.loop': (
    'jax hgdt_jax.checkpoint hgdt_jax.guards hgdt_jax.interrupts hgdt_jax.processes '
    'hgdt_jax.sharding hgdt_jax.writer'
  ),
  # The configuration, from the registries of those pieces; then what it decides.
  'hgdt_jax.settings': (
    'ml_collections input_pipeline hgdt_jax.autoencoders hgdt_jax.denoisers hgdt_jax.diffusion '
    'hgdt_jax.fields hgdt_jax.gans hgdt_jax.guards hgdt_jax.metrics hgdt_jax.schema hgdt_jax.space '
    'hgdt_jax.stages'
  ),
  'hgdt_jax.stages': (
    'jax flax optax hgdt_jax.autoencoders hgdt_jax.denoisers hgdt_jax.models hgdt_jax.diffusion '
    'hgdt_jax.losses hgdt_jax.stages hgdt_jax.fields hgdt_jax.gans hgdt_jax.pixels hgdt_jax.rng '
    'hgdt_jax.schema hgdt_jax.sharding hgdt_jax.space hgdt_jax.state'
  ),
  'hgdt_jax.workdir': (
    'jax configs hgdt_jax.__version__ hgdt_jax.atomic hgdt_jax.checkpoint hgdt_jax.settings '
    'hgdt_jax.stages hgdt_jax.writer'
  ),
  'hgdt_jax.clip_sources': 'input_pipeline hgdt_jax.settings hgdt_jax.processes',
  'hgdt_jax.lending': 'hgdt_jax.settings hgdt_jax.methods hgdt_jax.stages hgdt_jax.workdir',
  'hgdt_jax.handed_on': (
    'flax jax hgdt_jax.checkpoint hgdt_jax.settings hgdt_jax.sharding hgdt_jax.stages '
    'hgdt_jax.state hgdt_jax.workdir'
  ),
  'hgdt_jax.drawing': (
    'jax hgdt_jax.effort hgdt_jax.settings hgdt_jax.denoisers hgdt_jax.diffusion hgdt_jax.gans '
    'hgdt_jax.pixels hgdt_jax.rng hgdt_jax.sampling hgdt_jax.sharding hgdt_jax.stages'
  ),
  'hgdt_jax.weights': (
    'flax jax configs input_pipeline hgdt_jax.__version__ hgdt_jax.atomic hgdt_jax.handed_on '
    'hgdt_jax.settings hgdt_jax.state'
  ),
  'hgdt_jax.donors': ('jax hgdt_jax.handed_on hgdt_jax.state hgdt_jax.weights hgdt_jax.workdir'),
  'hgdt_jax.publish': (
    'hgdt_jax.donors hgdt_jax.handed_on hgdt_jax.lending hgdt_jax.settings hgdt_jax.sharding '
    'hgdt_jax.weights hgdt_jax.workdir'
  ),
  'hgdt_jax.trained': (
    'jax hgdt_jax.donors hgdt_jax.settings hgdt_jax.drawing hgdt_jax.lending hgdt_jax.methods '
    'hgdt_jax.rng hgdt_jax.sampling hgdt_jax.sharding'
  ),
  'hgdt_jax.programs': (
    'jax hgdt_jax.effort hgdt_jax.settings hgdt_jax.handed_on hgdt_jax.sharding hgdt_jax.stages '
    'hgdt_jax.state'
  ),
  'hgdt_jax.rehearsal': (
    'jax hgdt_jax.costs hgdt_jax.handed_on hgdt_jax.programs hgdt_jax.settings hgdt_jax.sharding'
  ),
  'hgdt_jax.warm_start': (
    'jax hgdt_jax.donors hgdt_jax.handed_on hgdt_jax.methods hgdt_jax.processes hgdt_jax.settings '
    'hgdt_jax.state hgdt_jax.workdir'
  ),
  'hgdt_jax.stablehlo': 'jax hgdt_jax.atomic hgdt_jax.drawing hgdt_jax.trained',
  'hgdt_jax.flows': ('jax hgdt_jax.denoisers hgdt_jax.pixels hgdt_jax.stages hgdt_jax.trained'),
  'hgdt_jax.laws': 'hgdt_jax.drawing hgdt_jax.metrics hgdt_jax.trained',
  'hgdt_jax.results': (
    'hgdt_jax.atomic hgdt_jax.settings hgdt_jax.drawing hgdt_jax.laws hgdt_jax.methods '
    'hgdt_jax.metrics hgdt_jax.processes hgdt_jax.sampling hgdt_jax.stages hgdt_jax.trained'
  ),
  'hgdt_jax.sampled': (
    'input_pipeline hgdt_jax.donors hgdt_jax.settings hgdt_jax.diffusion hgdt_jax.drawing '
    'hgdt_jax.machine hgdt_jax.request hgdt_jax.sampling hgdt_jax.trained hgdt_jax.workdir '
    'hgdt_jax.writer'
  ),
  'hgdt_jax.playground': ('hgdt_jax.request hgdt_jax.sampled hgdt_jax.sampling hgdt_jax.trained'),
  'hgdt_jax.demo_page': 'hgdt_jax.playground hgdt_jax.trained',
  'hgdt_jax.run': 'jax ml_collections hgdt_jax input_pipeline',  # the composition root
  'hgdt_jax.notebook': 'hgdt_jax.report hgdt_jax.sampling hgdt_jax.writer',
  'hgdt_jax.api': (
    'ml_collections configs input_pipeline hgdt_jax.clip_decoder hgdt_jax.clip_sources '
    'hgdt_jax.donors hgdt_jax.flows hgdt_jax.laws hgdt_jax.machine hgdt_jax.metrics '
    'hgdt_jax.notebook hgdt_jax.publish hgdt_jax.request hgdt_jax.results hgdt_jax.run '
    'hgdt_jax.sampled hgdt_jax.scoring hgdt_jax.trained hgdt_jax.weights hgdt_jax.workdir'
  ),
  # Verbs.
  'hgdt_jax.listing': (
    'input_pipeline hgdt_jax.autoencoders hgdt_jax.denoisers hgdt_jax.diffusion hgdt_jax.gans '
    'hgdt_jax.losses hgdt_jax.methods hgdt_jax.metrics hgdt_jax.report hgdt_jax.stages'
  ),
  'hgdt_jax.main': (
    'configs hgdt_jax.cli hgdt_jax.settings hgdt_jax.listing hgdt_jax.processes hgdt_jax.run'
  ),
  'hgdt_jax.__main__': 'hgdt_jax.__version__',
  'hgdt_jax.sample': 'hgdt_jax.cli hgdt_jax.methods hgdt_jax.request hgdt_jax.sampled',
  'hgdt_jax.export': (
    'hgdt_jax.cli hgdt_jax.methods hgdt_jax.publish hgdt_jax.stablehlo hgdt_jax.trained '
    'hgdt_jax.weights'
  ),
  'hgdt_jax.compile': (
    'configs hgdt_jax.cli hgdt_jax.rehearsal hgdt_jax.settings hgdt_jax.topologies'
  ),
  'hgdt_jax.demo': (
    'hgdt_jax.cli hgdt_jax.demo_page hgdt_jax.donors hgdt_jax.machine hgdt_jax.trained '
    'hgdt_jax.workdir'
  ),
  'hgdt_jax.evaluate': (
    'input_pipeline hgdt_jax.cli hgdt_jax.clip_decoder hgdt_jax.clip_sides hgdt_jax.interrupts '
    'hgdt_jax.machine hgdt_jax.metrics hgdt_jax.scoring'
  ),
}
VERBS = (
  'hgdt_jax.main',
  'hgdt_jax.sample',
  'hgdt_jax.evaluate',
  'hgdt_jax.export',
  'hgdt_jax.compile',
  'hgdt_jax.demo',
)
PACKAGES = ('hgdt_jax',)  # their rule is not that of the modules in them


def _name(path):
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def _imports(source, package):
  """Full names of what a module of `package` imports."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      above = package.split('.')[: len(package.split('.')) + 1 - node.level] if node.level else []
      origin = '.'.join([*above, *([node.module] if node.module else [])])
      yield from (f'{origin}.{alias.name}' for alias in node.names)


def _imports_of(path):
  name = _name(path)
  package = name if path.name == '__init__.py' else name.rpartition('.')[0]
  return _imports(path.read_text(), package)


def _within(name, places):
  return any(f'{name}.'.startswith(f'{place}.') for place in places)


def _rule(module):
  """The most particular rule for a module, or None."""
  places = [p for p in MAY_IMPORT if module == p or (p not in PACKAGES and _within(module, [p]))]
  return MAY_IMPORT[max(places, key=len)].split() if places else None


def _forbidden(module, imports):
  """What a module must not import of what it does."""
  allowed = _rule(module)
  assert allowed is not None, f'{module}: no rule in MAY_IMPORT'
  return [name for name in imports if _within(name, WATCHED) and not _within(name, allowed)]


@pytest.mark.parametrize('path', CODE, ids=_name)
def test_imports_point_one_way(path):
  assert not _forbidden(_name(path), _imports_of(path))


def test_every_rule_is_of_a_module():
  assert MAY_IMPORT.keys() <= {_name(path) for path in CODE}


@pytest.mark.parametrize(
  ('source', 'package', 'name'),
  [
    ('from . import run', 'hgdt_jax', 'hgdt_jax.run'),
    ('from .stages import gan', 'hgdt_jax', 'hgdt_jax.stages.gan'),
    ('from .. import run', 'hgdt_jax.models', 'hgdt_jax.run'),
    ('from ..stages.gan import init', 'hgdt_jax.models', 'hgdt_jax.stages.gan.init'),
    ('def f():\n  import hgdt_jax.run as r', 'hgdt_jax.models', 'hgdt_jax.run'),
    ('from hgdt_jax import run', 'hgdt_jax.models', 'hgdt_jax.run'),
  ],
)
def test_an_import_is_forbidden_however_it_is_written(source, package, name):
  assert list(_imports(source, package)) == [name]
  module = 'hgdt_jax.models.layers' if package == 'hgdt_jax.models' else 'hgdt_jax.warp'
  assert _forbidden(module, _imports(source, package)) == [name]
  assert not _forbidden('hgdt_jax.models.layers', ['hgdt_jax.models.bridge', 'json'])


def test_a_module_without_a_rule_is_an_error():
  with pytest.raises(AssertionError, match=r'hgdt_jax\.new: no rule'):
    _forbidden('hgdt_jax.new', [])


def test_nothing_imports_a_verb_or_the_composition_root():
  for path in CODE:
    for name in _imports_of(path):
      assert not _within(name, VERBS), f'{path}: must not import {name}'
      if path.name not in ('main.py', 'sample.py', 'api.py'):
        assert not _within(name, ['hgdt_jax.run']), f'{path}: must not import {name}'


def test_only_verbs_define_flags():
  verbs = {f'{verb.rpartition(".")[2]}.py' for verb in VERBS} | {'cli.py'}
  for path in CODE:
    if path.name not in verbs:
      assert 'flags.DEFINE' not in path.read_text(), path


@pytest.mark.parametrize('path', CODE, ids=_name)
def test_every_module_imports(path):
  if _name(path) in VERBS:
    pytest.skip('defines flags; run as a process in test_command_line.py')
  importlib.import_module(_name(path))


def test_what_lies_beside_the_code_is_put_into_wheels():
  """From a checkout it is found in any case."""
  setuptools = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['setuptools']
  beside = [p for p in FILES if p.suffix != '.py' and p.parent.name != '__pycache__']
  assert {p.relative_to(ROOT).as_posix() for p in beside} == {
    f'{package.replace(".", "/")}/{name}'
    for package, names in setuptools['package-data'].items()
    for name in names
  }
