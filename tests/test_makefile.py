"""`make` on machines as they are: old Pythons, half-made environments, paths with spaces."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not shutil.which('make'), reason='there is no make')


@pytest.fixture
def checkout(tmp_path):
  """A folder with the Makefile, and a blank in its path."""
  folder = tmp_path / 'a check out'
  folder.mkdir()
  for name in ('Makefile', 'pyproject.toml'):
    shutil.copy(ROOT / name, folder)
  return folder


@pytest.fixture
def interpreter(checkout):
  """A function that gives a Python of some version, which installs nothing, but says it is asked.

  What its environments are asked for is in the file `asked`.
  """

  def make(*version):
    path = checkout.parent / 'some python'
    path.write_text(f"""#!/bin/sh
if [ "$1" = -c ]; then exec "{sys.executable}" -c "import sys; sys.version_info = {version}; $2"; fi
[ "$*" = "-m venv --clear .venv" ] || exit 9
rm -rf .venv; mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$@" >> asked\\n' > .venv/bin/python
chmod +x .venv/bin/python
""")
    path.chmod(0o755)
    return path

  return make


def _make(checkout, *arguments):
  command = ['make', *arguments]
  return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def _asked(checkout):
  return (checkout / 'asked').read_text().splitlines()


def test_an_old_python_is_refused_before_anything_is_made(checkout, interpreter):
  old = interpreter(3, 10, 4)
  done = _make(checkout, 'demo', f'PYTHON={old}')
  assert done.returncode == 2
  assert f'needs Python 3.11 or newer, and {old} is 3.10: make PYTHON=python3.12' in done.stderr
  assert not (checkout / '.venv').exists()


def test_an_environment_that_was_never_ready_is_made_anew(checkout, interpreter):
  (checkout / '.venv' / 'bin').mkdir(parents=True)
  (checkout / '.venv' / 'left').touch()
  done = _make(checkout, 'demo', f'PYTHON={interpreter(3, 12, 1)}', 'WORKDIR=my runs/one')
  assert not done.returncode, done.stderr
  assert not (checkout / '.venv' / 'left').exists()
  assert _asked(checkout)[-1] == '-m hgdt_jax.main --workdir=my runs/one'


def test_a_ready_environment_is_kept_and_brought_up_to_date(checkout, interpreter):
  python = f'PYTHON={interpreter(3, 11, 0)}'
  assert not _make(checkout, 'lint', python).returncode
  (checkout / '.venv' / 'mine').touch()
  (checkout / 'asked').unlink()
  assert not _make(checkout, 'lint', python).returncode
  assert _asked(checkout) == ['-m ruff check .', '-m ruff format --check .']
  (checkout / 'pyproject.toml').touch()
  assert not _make(checkout, 'lint', python).returncode
  assert '-m pip install --quiet -e .[dev]' in _asked(checkout)
  assert (checkout / '.venv' / 'mine').exists()
