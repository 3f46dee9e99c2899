"""What can be told is told before a network runs; what was measured is kept in the end."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hgdt_jax import atomic, scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.metrics import (
  clip_sets,
  measures,
  networks,
  protocol,
  random_features,
  score,
  statistics_cache,
)

CUT = Cut(frames=8)
FRECHET = 'frechet_random_conv3d'


@pytest.fixture
def untouched(monkeypatch):
  """No network may run."""

  def run(*clips):
    raise AssertionError('a network ran')

  network = random_features.network()
  fake = networks.FeatureNetwork(network.name, '0', network.protocol, run, network.smallest)
  monkeypatch.setitem(measures._OWN, random_features.NAME, lambda: fake)


@pytest.mark.parametrize(
  ('names', 'cut', 'how', 'says'),
  [
    ((FRECHET, 'psnr'), CUT, {}, r'0.npz is 32x32, .*0.npz 24x24; give one size'),
    ((FRECHET,), Cut(frames=3), {}, f'{FRECHET}: needs clips of at least 4 frames, got 3'),
    ((FRECHET,), Cut(frames=8, size=12), {}, f'{FRECHET}: .*at least 16x16 pixels, got 12x12'),
    ((FRECHET, 'ssim'), Cut(frames=8, size=10), {}, 'at least 1[16]x1[16] pixels, got 10x10'),
    ((FRECHET, 'density_random_conv3d'), CUT, {}, 'needs at least 6 clips'),
    ((FRECHET, 'motion_ratio'), Cut(frames=8, max_clips=1), {}, 'at least 2 clips in each set'),
    (('psnr',), Cut(frames=8, size=16), {'infinity': True}, 'Fréchet distances'),
    ((FRECHET, 'psnr'), Cut(frames=8, size=16), {'infinity': True}, '4 samples of 128 dimensions'),
    (('motion_magnitude',), CUT, {'curve': True}, 'compare two sets'),
    ((FRECHET,), Cut(frames=8, max_clips=2), {'curve': True}, 'more than 2 generated clips'),
  ],
)
def test_told_before_a_network_runs(folders, untouched, make_clips, names, cut, how, says):
  real, fake = folders
  for i, clip in enumerate(make_clips(4, 3, size=24)):
    np.savez(fake / f'{i}.npz', video=clip)
  with pytest.raises((ValueError, FileNotFoundError), match=says):
    scoring.score_folders(real, fake, names, cut, uncertainty=score.Uncertainty(**how))


def test_an_undefined_metric_is_null_beside_the_others(make_clips, tmp_path):
  moving = make_clips(4, 1)
  still = np.repeat(moving[:, :1], 8, axis=1)
  names = ['motion_ratio', FRECHET, 'temporal_flickering']
  found = score.score_clips(still, moving, names)
  assert list(found) == names
  row = protocol.results_row('x', found)
  assert row['metrics']['motion_ratio'] is None and row['metrics'][FRECHET] > 0
  assert 'real clips do not move' in row['protocol']['motion_ratio']['undefined']
  assert 'infinite' not in row['protocol']['motion_ratio']
  scoring.write_results(tmp_path / 'r.json', [row])
  lines = scoring.table(found).splitlines()
  assert lines[1].split()[:2] == ['motion_ratio', 'undefined']
  assert any(line.startswith('motion_ratio: undefined: the real clips do not') for line in lines)


def test_nan_of_a_network_names_it_and_costs_no_other_score(make_clips):
  def third(a, b):
    distances = np.full(len(a), 0.1, np.float32)
    distances[::3] = np.nan
    return distances

  own = {'lpips_alex': networks.DistanceNetwork('own', '0', {'network': 'my LPIPS'}, third)}
  real, fake = make_clips(4, 1), make_clips(4, 2)
  found = score.score_clips(real, fake, ['lpips', 'psnr'], own_networks=own)
  assert np.isnan(found['lpips'].value) and found['psnr'].value > 0
  assert 'the network my LPIPS gives them' in found['lpips'].stamp['undefined']
  with pytest.raises(ValueError, match=r'lpips: .*my LPIPS'):
    score.score_clips(real, fake, ['lpips'], own_networks=own)


def test_scores_are_there_as_they_come(make_clips):
  """Ctrl-C among the pairs: the scores of the sets are done."""

  class Stopped(BaseException):
    pass

  class Pairs(clip_sets.Pairs):
    def batches(self):
      raise Stopped

  real, fake = (clip_sets.ArrayClips(make_clips(3, seed)) for seed in (1, 2))
  found = {}
  with pytest.raises(Stopped):
    score.score_sets(real, fake, ['psnr', 'motion_ratio'], pairs=Pairs(real, fake), found=found)
  assert found.keys() == {'motion_ratio'} and found['motion_ratio'].value > 0


def test_ctrl_c_keeps_what_was_scored_and_says_so(folders, tmp_path):
  out = tmp_path / 'r.json'
  flags = [f'--real={folders[0]}', f'--fake={folders[1]}', '--frames=8']
  flags += ['--metrics=motion_ratio,psnr']
  code = (
    'from hgdt_jax.metrics import scored; real = scored.score\n'
    'def slow(name, *rest):\n'
    '  import time\n'
    '  if name == "psnr": print("now", flush=True); time.sleep(60)\n'
    '  return real(name, *rest)\n'
    'scored.score = slow\n'
    'import runpy; runpy.run_module("hgdt_jax.evaluate", run_name="__main__", alter_sys=True)'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', code, *flags, f'--out={out}', '--nocache'],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )  # fmt: skip
  assert 'now\n' in iter(process.stdout.readline, '')
  time.sleep(0.2)
  process.send_signal(signal.SIGINT)
  shown, said = process.communicate(timeout=60)
  assert process.returncode == 130, said
  assert f'stopped by SIGINT; 1 scores are in {out}; the same command scores anew' in said
  assert 'motion_ratio' in shown
  content = json.loads(out.read_text())
  assert content['stopped'] is True
  assert content['results'][0]['metrics'].keys() == {'motion_ratio'}


def test_where_results_may_go(tmp_path):
  run = tmp_path / 'run.json'
  run.write_text(json.dumps({'results': [], 'curves': {}, 'environment': {}}))
  (tmp_path / 'file').write_text('x')
  refused = {
    tmp_path: 'a folder',
    tmp_path / 'file' / 'r.json': 'is no folder',
    run: 'not of an earlier evaluate',
    tmp_path / 'file': 'not of an earlier evaluate',
  }
  for path, says in refused.items():
    with pytest.raises(ValueError, match=says):
      scoring.check_out(path, overwrite=False)
  scoring.check_out(run, overwrite=True)
  own = tmp_path / 'deep' / 'own.json'
  scoring.check_out(own, overwrite=False)
  assert not own.parent.exists(), 'nothing is made before there is something to write'
  scoring.write_results(own, [{'method': 'a'}], left_out=[{'path': 'x', 'reason': 'y'}])
  scoring.check_out(own, overwrite=False)
  assert json.loads(own.read_text())['left_out'] == [{'path': 'x', 'reason': 'y'}]


def test_a_cache_that_is_no_folder_is_told_first(folders, untouched, tmp_path):
  (tmp_path / 'kept').write_text('x')
  with pytest.raises(ValueError, match=r'kept: no folder.*--nocache'):
    scoring.score_folders(*folders, [FRECHET], CUT, cache=tmp_path / 'kept')


def test_a_cache_that_cannot_be_written_costs_no_score(make_clips):
  class Full(statistics_cache.Memory):
    def save(self, name, samples):
      raise OSError(28, 'No space left on device')

  real, fake = (clip_sets.ArrayClips(make_clips(3, seed)) for seed in (1, 2))
  assert score.score_sets(real, fake, [FRECHET], cache=Full(1))[FRECHET].value > 0


def _write(path, k):
  for _ in range(100):
    atomic.write_json(path, {'writer': k, 'x': [k] * 2000})


def test_two_writers_of_one_file(tmp_path):
  path = tmp_path / 'r.json'
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda k: _write(path, k), range(2)))
  content = json.loads(path.read_text())
  assert content['x'] == [content['writer']] * 2000
  assert [p.name for p in tmp_path.iterdir()] == ['r.json']
