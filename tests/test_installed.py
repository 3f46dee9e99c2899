"""Installed is as good as cloned: what a wheel and a source distribution hold, from any folder."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import hgdt_jax
from configs import hybrid
from hgdt_jax import workdir

ROOT = pathlib.Path(__file__).parents[1]
_BUILD = """
from setuptools import build_meta
build_meta.build_wheel('made')
build_meta.build_sdist('made')
"""
_RECIPE = """
import json, sys
from absl import flags
from hgdt_jax import main
flags.FLAGS(sys.argv)
config = flags.FLAGS.config
print(json.dumps([main.__file__, config.dtype, config.data.batch, config.gan.steps]))
"""
_WITHOUT_ARRAY_RECORD = """
import sys
sys.modules['array_record'] = None  # as where there is no wheel of it
import hgdt_jax.evaluate
from hgdt_jax import scoring
"""


def _python(code, *arguments, cwd, path):
  return subprocess.run(
    [sys.executable, *(('-c', code) if code else ()), *map(str, arguments)],
    cwd=cwd,
    env=os.environ | {'PYTHONPATH': str(path)},
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """The folders that a wheel and a source distribution are unpacked to."""
  pytest.importorskip('setuptools', '77', reason='builds with the setuptools at hand')
  folder = tmp_path_factory.mktemp('installed')
  left = shutil.ignore_patterns('.git', '.venv', '__pycache__', '.*_cache', '*.egg-info', 'build')
  shutil.copytree(ROOT, folder / 'checkout', ignore=left)
  (folder / 'checkout' / 'made').mkdir()
  done = _python(_BUILD, cwd=folder / 'checkout', path='')
  assert done.returncode == 0, done.stderr
  (wheel,) = (folder / 'checkout' / 'made').glob('*.whl')
  (sdist,) = (folder / 'checkout' / 'made').glob('*.tar.gz')
  zipfile.ZipFile(wheel).extractall(folder / 'wheel')
  with tarfile.open(sdist) as archive:
    archive.extractall(folder / 'sdist', filter='data')
  return folder


@pytest.mark.parametrize(
  ('preset', 'read'), [('gpu', ['bfloat16', 32, 7]), ('small', ['float32', 4, 7])]
)
def test_the_packaged_recipe_is_found_from_any_folder(made, tmp_path, preset, read):
  arguments = (f'--config=configs/hybrid.py:{preset}', '--config.gan.steps=7')
  done = _python(_RECIPE, *arguments, cwd=tmp_path, path=made / 'wheel')
  assert done.returncode == 0, done.stderr
  found, *values = json.loads(done.stdout)
  assert found == str(made / 'wheel' / 'hgdt_jax' / 'main.py')
  assert values == read


def test_a_recipe_of_the_current_folder_goes_first(tmp_path):
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'hybrid.py').write_text("""
from configs import base
def get_config():
  config = base.get_config()
  config.data.batch = 3
  return config
""")
  done = _python(_RECIPE, '--config', 'configs/hybrid.py', cwd=tmp_path, path=ROOT)
  assert json.loads(done.stdout)[2] == 3, done.stderr


def test_help_lists_the_recipe_its_presets_and_where_the_fields_are(made, tmp_path):
  done = _python('', '-m', 'hgdt_jax.main', '--help', cwd=tmp_path, path=made / 'wheel')
  assert done.returncode == 0
  about = re.search(r'--config:(.*?)\(default:', ''.join(done.stdout.split()))[1]  # as wrapped
  assert ','.join(hybrid.PRESETS) in about
  assert str(made / 'wheel' / 'configs' / 'base.py') in about


def test_the_version_is_one(made):
  (about,) = (made / 'wheel').glob('*.dist-info')
  assert about.name == f'hgdt_jax-{hgdt_jax.__version__}.dist-info'
  assert workdir.versions()['hgdt_jax'] == hgdt_jax.__version__


def test_a_source_distribution_holds_what_its_tests_read(made):
  (folder,) = (made / 'sdist').iterdir()
  left = {'made', '.venv', '.git'}
  wanted = subprocess.run(
    ['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=False
  ).stdout.split('\n')
  wanted = {name for name in wanted if name and name.partition('/')[0] not in left}
  held = {path.relative_to(folder).as_posix() for path in folder.rglob('*')}
  assert wanted or not (ROOT / '.git').exists()
  assert {name for name in wanted if (ROOT / name).exists()} <= held


def test_evaluate_needs_no_array_record(tmp_path):
  done = _python(_WITHOUT_ARRAY_RECORD, cwd=tmp_path, path=ROOT)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  ('recipe', 'says'),
  [
    (
      'configs/hybrid.py:gpux',
      'configs/hybrid.py:gpux: no such preset; want small, synthetic, bench, gpu',
    ),
    ('configs/nope.py', 'no such file; configs/ of the package has dit.py, gestures.py, hybrid.py'),
    ('broken.py', 'division by zero'),
    ('~/broken.py', 'division by zero'),
  ],
)
def test_a_recipe_that_cannot_be_had_is_told_in_a_line(tmp_path, recipe, says, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'broken.py').write_text('def get_config():\n  return 1 / 0\n')
  done = _python('', '-m', 'hgdt_jax.main', f'--config={recipe}', cwd=tmp_path, path=ROOT)
  assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
  assert f'--config={recipe}: {says}' in done.stderr
