"""The verb in a fresh process: results, exit codes, one clear line."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def evaluate(*flags):
  return subprocess.run(
    [sys.executable, '-m', 'hgdt_jax.evaluate', *flags],
    cwd=ROOT, capture_output=True, text=True, env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )  # fmt: skip


@pytest.fixture(scope='module')
def clips(tmp_path_factory, make_clips):
  root = tmp_path_factory.mktemp('clips')
  for name, seed in (('real/test', 1), ('fake', 2)):
    (root / name).mkdir(parents=True)
    for i, clip in enumerate(make_clips(3, seed)):
      np.savez(root / name / f'{i}.npz', video=clip)
  np.savez(root / 'fake' / 'short.npz', video=clip[:2])
  return root


def test_scores_two_folders(clips, tmp_path):
  out = tmp_path / 'results.json'
  done = evaluate(
    f'--real={clips}/real', f'--fake={clips}/fake', '--frames=8', f'--out={out}', '--split=test',
    '--metrics=motion_ratio,temporal_flickering', '--bootstrap=5',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert 'motion_ratio' in done.stdout and '95% interval' in done.stdout
  assert done.stderr.splitlines() == [
    f'left out {clips}/fake/short.npz: too short: 2 frames, 8 needed'
  ]
  row = json.loads(out.read_text())['results'][0]
  assert row['method'] == 'fake' and row['metrics']['motion_ratio'] > 0
  assert row['protocol']['motion_ratio']['split'] == 'test'
  assert {p.name for p in tmp_path.iterdir()} == {'results.json', 'real_statistics'}


@pytest.mark.parametrize(
  ('flags', 'code', 'says'),
  [
    (['--fake=x'], 2, '--real'),
    (['--real=x', '--fake=y', '--frame=3'], 2, 'frame'),
    (['--real=x', '--fake=y', '--frames=0'], 2, 'frames'),
    (['--real=x', '--fake=y', '--metrics=fdv'], 2, "no metric 'fdv'"),
    (['--real=x', '--fake=y', '--metrics='], 2, 'want at least one name'),
    (['--real=/nowhere', '--fake=y'], 1, '/nowhere: no such folder'),
  ],
)
def test_errors_are_one_line(flags, code, says, tmp_path):
  done = evaluate(*flags, f'--out={tmp_path}/results.json')
  assert done.returncode == code
  assert says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
  assert 'Traceback' not in done.stderr and not done.stdout
  assert not list(tmp_path.iterdir())
