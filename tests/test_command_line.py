"""The verbs as a user runs them, each in a fresh process; errors are one line and an exit code."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

import hgdt_jax
from hgdt_jax.__main__ import VERBS
from hgdt_jax.sampling import folders
from input_pipeline import video_files

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
  '--config.data.frames=4',
  '--config.data.classes=0',
  '--config.data.size=16',
  '--config.data.batch=4',
  '--config.draft.generator.width=8',
  '--config.draft.generator.max_width=8',
  '--config.draft.generator.patch=4',
  '--config.draft.critic.width=8',
  '--config.draft.critic.max_width=8',
  '--config.draft.critic.frame_patch=4',
  '--config.denoiser.width=8',
  '--config.denoiser.patch=4',
  '--config.denoiser.multipliers=(1,)',
  '--config.gan.steps=2',
  '--config.diffusion.steps=2',
  '--config.diffusion.warmup=1',
  '--config.evaluation.clips=4',
  '--config.evaluation.batch=4',
  '--config.evaluation.flow_clips=2',
  '--config.evaluation.taus=(.5,)',
  '--config.evaluation.evaluations=(2,)',
  "--config.stages=('gan','diffusion')",
]


def _run(verb, *arguments, cwd=ROOT):
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  return subprocess.run(
    [sys.executable, '-m', f'hgdt_jax.{verb}', *map(str, arguments)],
    cwd=cwd,
    env=environment,
    capture_output=True,
    text=True,
  )


def _hgdt_jax(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'hgdt_jax', *arguments], cwd=ROOT, capture_output=True, text=True
  )


@pytest.mark.smoke
def test_train_then_sample_then_evaluate(tmp_path):
  """With no --config it is the small preset, from any directory."""
  done = _run('main', f'--workdir={tmp_path}/run', *TINY, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert 'hybrid' in done.stdout and 'report: ' in done.stdout
  assert 'gan: 100% 2/2' in done.stderr  # plain lines where there is no terminal
  sample = ('sample', f'--workdir={tmp_path}/run', '--num=3', '--steps=2')
  drawn = _run(*sample, f'--out={tmp_path}/mp4', '--tau=0.6')
  assert drawn.returncode == 0, drawn.stderr
  assert len(list((tmp_path / 'mp4').glob('*.mp4'))) == 3
  given = tmp_path / 'mp4' / 'clip_0000.mp4'
  drawn = _run(
    *(*sample, f'--out={tmp_path}/png', '--format=png', '--method=diffusion', '--sampler=heun'),
    *(f'--condition={given}', '--at=0,3'),
  )
  assert drawn.returncode == 0, drawn.stderr
  contained = video_files.read(tmp_path / 'png' / 'clip_0002', (0, 3))
  np.testing.assert_array_equal(contained, video_files.read(given, (0, 1)))
  scored = _run(
    *('evaluate', f'--real={tmp_path}/run/samples/real/clips', f'--fake={tmp_path}/mp4'),
    *('--frames=4', '--metrics=motion_ratio', f'--out={tmp_path}/scores.json'),
  )
  assert scored.returncode == 0, scored.stderr
  assert (tmp_path / 'scores.json').exists()
  file = tmp_path / 'run.safetensors'
  taken = _run('export', f'--workdir={tmp_path}/run', f'--out={file}', '--licence=CC0-1.0')
  assert taken.returncode == 0, taken.stderr
  assert taken.stdout.startswith('gan (generator), diffusion (denoiser)') and file.exists()
  options = ('--num=1', '--steps=2', '--format=png', '--seed=3')
  for source, out in (
    (f'--workdir={tmp_path}/run', 'from_run'),
    (f'--weights={file}', 'from_file'),
  ):
    drawn = _run('sample', source, f'--out={tmp_path / out}', *options)
    assert drawn.returncode == 0, drawn.stderr
  read = lambda out: video_files.read(tmp_path / out / 'clip_0000', range(4))
  np.testing.assert_array_equal(read('from_run'), read('from_file'))


def _stopped(number, until, *arguments):
  """Sends a signal to a verb once `until()`; the finished process, with its output."""
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  command = [sys.executable, '-m', *map(str, arguments)]
  pipe = subprocess.PIPE
  process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
  for _ in range(3000):
    if until() or process.poll() is not None:
      break
    time.sleep(0.05)
  process.send_signal(number)
  output = process.communicate(timeout=120)
  return subprocess.CompletedProcess(command, process.returncode, *output)


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_sampling_and_scoring_in_one_line_and_changes_nothing(
  finished, tmp_path, number, code
):
  """0 is never said of what is not done; what an earlier call made is still there.

  What was drawn stands beside it, for the same command to go on with.
  """
  out = tmp_path / 'out'
  video = np.zeros((4, 16, 16, 3), np.uint8)
  folders.write_clips([video], out)
  before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
  began = time.monotonic()
  later = lambda: time.monotonic() - began > 4
  sample = ('hgdt_jax.sample', f'--workdir={finished}', f'--out={out}', '--num=100000')
  done = _stopped(number, later, *sample, '--method=gan')
  _one_line(done, code, 'sample: stopped by', 'resume with the same command')
  part = tmp_path / 'out.part'
  assert not part.exists() or (part / 'asked.json').exists()
  shutil.rmtree(part, ignore_errors=True)
  began = time.monotonic()
  sets = (f'--real={finished}/samples/real/clips', f'--fake={finished}/samples/gan/clips')
  scores = ('--frames=4', '--bootstrap=100000000', f'--out={tmp_path}/scores.json')
  done = _stopped(number, later, 'hgdt_jax.evaluate', *sets, *scores, '--nocache')
  _one_line(done, code, 'evaluate: stopped by')
  assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before


def _one_line(done, code, *words):
  assert done.returncode == code, done.stderr
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert len(lines) == 1, done.stderr
  for word in words:
    assert word in lines[0]


def test_a_wrong_config_field(tmp_path):
  workdir = f'--workdir={tmp_path}/run'
  _one_line(_run('main', workdir, '--config.gan.lr=1'), 2, 'lr')
  _one_line(_run('main', workdir, '--config.gan.steps=soon'), 2, 'steps')
  _one_line(_run('main', workdir, '--config.gan.steps=0'), 1, 'config.gan.steps=0')
  _one_line(_run('main', workdir, '--config.mesh.data=3'), 1, 'config.mesh')
  assert not (tmp_path / 'run').exists()


def test_a_missing_config_file(tmp_path):
  done = _run('main', '--config=nowhere.py', f'--workdir={tmp_path}/run')
  _one_line(done, 2, 'nowhere.py: no such file')


def test_bad_folders_of_clips(tmp_path):
  """Missing, empty, and with nothing but a corrupt video in it."""
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'corrupt').mkdir()
  (tmp_path / 'corrupt' / 'clip.mp4').write_bytes(b'not a video' * 100)
  for name, word in (('missing', 'missing'), ('empty', 'empty'), ('corrupt', 'clip.mp4')):
    done = _run(
      *('main', f'--workdir={tmp_path}/run', '--config.data.source=folder'),
      f'--config.data.path={tmp_path / name}',
    )
    _one_line(done, 1, word)


@pytest.mark.long
def test_a_corrupt_video_among_good_ones_is_left_out_and_listed(tmp_path):
  folder = tmp_path / 'clips'
  folder.mkdir()
  for i in range(8):
    video = np.random.default_rng(i).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / f'{i}.npz', video=video)
  (folder / 'bad.mp4').write_bytes(b'not a video' * 100)
  (folder / 'notes.txt').write_text('x')
  done = _run(
    *('main', f'--workdir={tmp_path}/run', '--config.data.source=folder'),
    *(f'--config.data.path={folder}', '--config.data.test_share=0.5', *TINY),
  )
  assert done.returncode == 0, done.stderr
  census = json.loads((tmp_path / 'run' / 'config.json').read_text())['census']
  assert (census['files'], census['left_out'], census['passed_over']) == (8, 1, {'.txt': 1})
  assert 'files        8 of 9 used: 8 .npz' in done.stdout and 'passed over  1 .txt' in done.stdout
  assert '1 files left out' in done.stdout
  assert 'bad.mp4' in (tmp_path / 'run' / 'rejected.csv').read_text()


def test_sampling_errors(tmp_path):
  _one_line(_run('sample', f'--workdir={tmp_path}', f'--out={tmp_path}/o'), 1, 'config.json')
  _one_line(_run('sample', f'--workdir={tmp_path}', f'--out={tmp_path}/o', '--tau=2'), 2, 'tau')
  _one_line(_run('sample', '--out=o'), 2, 'workdir')
  _one_line(_run('sample', '--workdir=w', '--out=o', '--at=first'), 2, 'at', 'whole numbers')
  for flag, says in {
    'at=0,0': 'different whole numbers',
    'tau=nan': 'finite',
    'guidance=nan': 'finite',
    'seed=4294967296': '[0, 4294967295]',
    'seed=99999999999999999999': 'seed',
  }.items():
    _one_line(_run('sample', '--workdir=w', '--out=o', f'--{flag}'), 2, flag.split('=')[0], says)
  falling = '--guidance_interval=0.8,0.2'
  _one_line(_run('sample', '--workdir=w', '--out=o', falling), 2, falling[2:19], 'lower one first')


@pytest.mark.parametrize('verb', VERBS)
def test_help_names_the_flags(verb):
  """By `hgdt-jax VERB`, which every verb can be called by."""
  done = _hgdt_jax(verb, '--help')
  assert done.returncode == 0
  assert '--' in done.stdout and 'Traceback' not in done.stderr


def test_verbs_are_listed(monkeypatch):
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  assert project['scripts'] == {'hgdt-jax': 'hgdt_jax.__main__:main'}
  found = {name for name in VERBS if f'  {name} ' in _hgdt_jax('--help').stdout}
  assert found == VERBS.keys()
  assert _hgdt_jax('--version').stdout == f'hgdt-jax {hgdt_jax.__version__}\n'
  _one_line(_hgdt_jax(), 2, 'which verb?')
  _one_line(_hgdt_jax('smaple'), 2, "no verb 'smaple'")
  _one_line(_hgdt_jax('export', '--workdir=w', '--out=o.npz'), 1, 'export: ', '.safetensors')
  _one_line(_hgdt_jax('sample', '--workdir=w', '--weights=w', '--out=o'), 2, 'workdir', 'weights')
  _one_line(_hgdt_jax('sample', '--weights=nothing', '--out=o'), 1, 'sample: nothing: no such')
