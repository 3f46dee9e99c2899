"""A run that is killed again and again ends as one that was left alone."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.long
def test_five_kills_change_nothing(tmp_path):
  """SIGKILL, SIGTERM and Ctrl-C, at random and while saving; by hand with `--kills=30`."""
  done = subprocess.run(
    [
      *(sys.executable, ROOT / 'benchmarks' / 'soak.py', '--kills=5', f'--out={tmp_path}'),
      *('--steps=16', '--stages', 'gan'),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert '5 kills' in done.stdout and 'nothing temporary left' in done.stdout
