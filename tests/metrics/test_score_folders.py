"""Scores of two folders of clips: what is kept of the real ones, what is written and shown."""

import json
import os

import numpy as np
import pytest

from hgdt_jax import scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import FolderClips
from hgdt_jax.metrics import protocol, score, statistics_cache
from hgdt_jax.metrics.frechet import Moments

NAMES = ['frechet_random_conv3d', 'motion_ratio']
CUT = Cut(frames=8)


def test_equals_arrays(folders, make_clips):
  result = scoring.score_folders(*folders, [*NAMES, 'psnr'], Cut(frames=8))
  arrays = [make_clips(4, seed, frames=12)[:, :8] for seed in (1, 2)]
  want = score.score_clips(*arrays, [*NAMES, 'psnr'])
  assert not result.dropped
  for name, one in want.items():
    assert result.scores[name].value == pytest.approx(one.value, rel=1e-5), name
  stamp = result.scores['psnr'].stamp
  assert stamp['clips_real'] == 4 and stamp['resolution'] == '32x32' and stamp['window_stride'] == 0


def test_clear_errors(folders, tmp_path):
  real, fake = folders
  with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
    scoring.score_folders(tmp_path / 'nowhere', fake, NAMES, CUT)
  with pytest.raises(FileNotFoundError, match=r'0.npz: not a folder'):
    scoring.score_folders(real / '0.npz', fake, NAMES, CUT)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='empty: no clips in it; it may hold'):
    scoring.score_folders(tmp_path / 'empty', fake, NAMES, CUT)
  with pytest.raises(ValueError, match=r'none of its 4 clips can be used; 0\.npz: too short'):
    scoring.score_folders(real, fake, NAMES, Cut(frames=13))


def test_real_statistics_are_cached_and_never_stale(folders, tmp_path, monkeypatch):
  real, fake = folders
  cache = tmp_path / 'cache'
  walks = []
  whole = FolderClips.batches

  def spy(self):
    walks.append(self.facts['data'])
    yield from whole(self)

  monkeypatch.setattr(FolderClips, 'batches', spy)

  def run(cut=CUT, how=score.VALUES_ONLY):
    walks.clear()
    result = scoring.score_folders(real, fake, NAMES, cut, cache=cache, uncertainty=how)
    return {name: one.value for name, one in result.scores.items()}, list(walks)

  first, seen = run()
  assert seen == ['real', 'fake']
  assert run() == (first, ['fake'])  # the same numbers, without a look at the real clips
  _, seen = run(Cut(frames=9))
  assert seen == ['real', 'fake']  # another protocol
  _, seen = run(how=score.Uncertainty(bootstrap=2))
  assert seen == ['real', 'fake']  # moments are not enough for this

  clip = dict(np.load(real / '0.npz'))['video']
  clip[0, 0, 0, 0] ^= 1
  times = (real / '0.npz').stat()
  np.savez(real / '0.npz', video=clip)
  os.utime(real / '0.npz', ns=(times.st_atime_ns, times.st_mtime_ns))
  assert (real / '0.npz').stat().st_size == times.st_size
  changed, seen = run()
  assert seen == ['real', 'fake'] and changed != first  # one bit, same size, same time


def test_damaged_cache_entries_count_as_none(tmp_path):
  name, kept = statistics_cache.name_of({'a': 1}), statistics_cache.Folder(tmp_path)
  assert name != statistics_cache.name_of({'a': 2})
  assert kept.load(name) is None
  moments = Moments.from_features(np.arange(12.0).reshape(4, 3))
  kept.save(name, moments)
  got = kept.load(name)
  assert got.count == 4
  np.testing.assert_array_equal(got.scatter, moments.scatter)
  rows = np.ones((2, 1, 3), np.float32)
  kept.save(name, rows)
  np.testing.assert_array_equal(kept.load(name), rows)
  (path,) = tmp_path.iterdir()  # no half-written file is left
  path.write_bytes(path.read_bytes()[:100])
  assert kept.load(name) is None


def test_memory_forgets_what_was_not_asked_for_longest():
  kept = statistics_cache.Memory(2)
  rows = lambda clips: np.ones((clips, 1, 1))
  kept.save('a', rows(1))
  kept.save('b', rows(2))
  assert len(kept.load('a')) == 1
  kept.save('c', rows(3))
  assert kept.load('b') is None
  assert len(kept.load('a')) == 1 and len(kept.load('c')) == 3


def test_clips_in_memory_are_measured_once_until_a_bit_changes(make_clips, monkeypatch):
  real, fake, seen = make_clips(6, seed=1), make_clips(6, seed=2), []
  monkeypatch.setattr(score, '_REMEMBERED', statistics_cache.Memory(16))
  walk = score._walk

  def spy(wanted, keep, batches, count, shared):
    seen.append(sorted(wanted))
    return walk(wanted, keep, batches, count, shared)

  monkeypatch.setattr(score, '_walk', spy)
  run = lambda names: [score.score_clips(real, fake, names)[n].value for n in names]
  name = 'motion_ratio'
  first = run([name])
  assert [bool(wanted) for wanted in seen] == [True, True]
  seen.clear()
  assert run([name]) == first
  assert [bool(wanted) for wanted in seen] == [False, True]  # of the real ones, nothing is left
  real[0, 0, 0, 0, 0] ^= 1
  seen.clear()
  run([name])
  assert [bool(wanted) for wanted in seen] == [True, True]


def test_results_and_table(folders, tmp_path):
  how = score.Uncertainty(bootstrap=5)
  scores = scoring.score_folders(*folders, [*NAMES, 'ssim'], CUT, uncertainty=how).scores
  row = protocol.results_row('fake', scores)
  scoring.write_results(tmp_path / 'deep' / 'results.json', [row])
  content = json.loads((tmp_path / 'deep' / 'results.json').read_text())
  assert set(content) == {'results', 'environment'}
  assert set(content['results'][0]) == {
    'method', 'network_evaluations', 'seconds_per_clip', 'metrics', 'protocol'
  }  # fmt: skip
  assert content['results'][0]['metrics'].keys() == {*NAMES, 'ssim'}
  assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['results.json']
  lines = scoring.table(scores).splitlines()
  assert lines[0].split()[:2] == ['metric', 'value'] and '95% interval' in lines[0]
  assert any('4 clips, 256 wanted' in line for line in lines)
