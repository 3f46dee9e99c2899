"""However a verb ends, the last line on stderr is its own, and names the workdir."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
_VERB = """
from hgdt_jax import cli
from absl import flags
flags.DEFINE_string('workdir', 'runs/mine', '')
def main():
  {body}
cli.run(main)
"""
_WHERE = ' (--workdir=runs/mine)'


def _run(tmp_path, body, arguments=(), **options):
  script = tmp_path / 'verb.py'
  script.write_text(_VERB.format(body=body))
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  return subprocess.run(
    [sys.executable, script, *arguments],
    env=environment,
    stderr=subprocess.PIPE,
    text=True,
    **options,
  )


@pytest.mark.parametrize(
  ('body', 'says'),
  [
    ("raise ValueError('gan.steps=0')", 'verb: gan.steps=0'),
    ("raise ImportError('no array_record here')", 'verb: no array_record here'),
    ("raise FileNotFoundError('no folder of clips')", 'verb: no folder of clips'),
    (
      "open('/dev/full', 'w', 1).write('a line\\n')",
      f'verb: [Errno 28] No space left on device{_WHERE}',
    ),
  ],
)
def test_what_the_user_can_mend_is_one_line(tmp_path, body, says):
  done = _run(tmp_path, body)
  assert (done.returncode, done.stderr.splitlines()) == (1, [says])


@pytest.mark.parametrize(
  ('body', 'says'),
  [
    ("raise RuntimeError('first\\nsecond')", f'verb: RuntimeError: first{_WHERE}'),
    (
      "raise RuntimeError('RESOURCE_EXHAUSTED: out of memory\\nbuffers')",
      'verb: RuntimeError: RESOURCE_EXHAUSTED: out of memory; the device is out of memory: lower '
      f'config.data.batch, or set config.denoiser.remat{_WHERE}',
    ),
  ],
)
def test_what_nobody_foresaw_has_its_traceback_above(tmp_path, body, says):
  done = _run(tmp_path, body)
  lines = done.stderr.splitlines()
  assert done.returncode == 1 and lines[0].startswith('Traceback') and lines[-1] == says


def test_a_pipe_that_is_closed_is_told_once(tmp_path):
  read, write = os.pipe()
  os.close(read)
  try:
    done = _run(tmp_path, "print('x' * 100_000)", stdout=write)
  finally:
    os.close(write)
  says = f'verb: nobody reads what is printed any more{_WHERE}'
  assert (done.returncode, done.stderr.splitlines()) == (1, [says])


@pytest.mark.parametrize('place', ['workdir', 'out', 'real', 'fake'])
def test_a_place_without_a_name_is_not_the_current_folder(tmp_path, place):
  """As of a shell variable that is not set."""
  body = "raise AssertionError('began')"
  if place != 'workdir':
    body += f"\nflags.DEFINE_string('{place}', None, '')"
  done = _run(tmp_path, body, arguments=[f'--{place}='])
  says = f'verb: flags: --{place}= is empty, which would be the current folder; name one; '
  says += '--help lists them'
  assert (done.returncode, done.stderr.splitlines()) == (2, [says])


def test_a_warning_is_one_line_and_its_code_is_not_shown(tmp_path):
  done = _run(tmp_path, "import warnings; warnings.warn('rates differ')")
  assert (done.returncode, done.stderr.splitlines()) == (0, ['verb: warning: rates differ'])


def test_a_warning_that_is_for_who_writes_code_keeps_its_place(tmp_path):
  done = _run(tmp_path, "import warnings; warnings.warn('old', RuntimeWarning)")
  assert 'verb.py:' in done.stderr and 'RuntimeWarning: old' in done.stderr


def test_a_workdir_that_checkpoints_cannot_have_is_refused(tmp_path):
  """As is every name beyond ASCII where the locale is forced to be POSIX."""
  done = _run(tmp_path, "raise AssertionError('began')", arguments=[b'--workdir=l\xe4ufe'])
  [line] = done.stderr.splitlines()
  assert done.returncode == 2 and line.startswith('verb: flags: --workdir=')
  assert 'no UTF-8 here' in line and 'LC_ALL=C.UTF-8' in line


def test_what_asyncio_has_to_add_is_not_the_last_line(tmp_path):
  """On a full disk it reports each of the writes that failed, after the verb did."""
  body = (
    "import logging; logging.getLogger('asyncio').error('never retrieved'); raise OSError('full')"
  )
  done = _run(tmp_path, body)
  assert (done.returncode, done.stderr.splitlines()) == (1, ['verb: full'])


def test_writes_that_a_closed_loop_leaves_are_not_reported_and_other_faults_are(tmp_path):
  script = """class Left:
    def __init__(self, says):
      self.says = says
    def __del__(self):
      raise RuntimeError(self.says)
  Left('Event loop is closed')
  Left('another')"""
  done = _run(tmp_path, script)
  assert 'RuntimeError: another' in done.stderr and 'Event loop' not in done.stderr
