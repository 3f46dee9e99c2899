"""Which clips belong together: by names, but for zeros and case, and by order at the last."""

import numpy as np
import pytest

from hgdt_jax import clip_sides, pairing, scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import Folders
from hgdt_jax.sampling import folders as sample_folders

CUT = Cut(frames=8)


def write(root, clips, names):
  for clip, name in zip(clips, names):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    np.savez(root / f'{name}.npz', video=clip)
  return root


@pytest.mark.parametrize(
  ('real', 'fake', 'pairs', 'rule'),
  [
    (['a', 'b', 'c'], ['c', 'a', 'b'], [(0, 1), (1, 2), (2, 0)], 'relative path'),
    (['x/0', 'y/0'], ['y/0', 'x/0'], [(0, 1), (1, 0)], 'relative path'),
    (['x/1', 'y/2'], ['2', '1'], [(0, 1), (1, 0)], 'file name'),
    (['v1', 'v10', 'v2'], ['v01', 'v02', 'v10'], [(0, 0), (1, 2), (2, 1)],
     'relative path but for case and zeros'),
    (['x/V1', 'x/V2'], ['v02', 'v01'], [(0, 1), (1, 0)], 'file name but for case and zeros'),
    (['cafe\u0301', 'b'], ['caf\u00e9', 'b'], [(0, 0), (1, 1)], 'relative path'),
    (['a1', 'a01', 'b'], ['A01', 'B', 'A1'], [(0, 2), (1, 0), (2, 1)],
     'relative path but for case'),
    (['a1', 'a10', 'a2'], ['b1', 'b2', 'b3'], [(0, 0), (1, 2), (2, 1)], pairing.BY_ORDER),
  ],
)  # fmt: skip
def test_rules(real, fake, pairs, rule):
  found = pairing.of(real, fake)
  assert found == (pairs, rule, ([], []))


def test_what_is_alone_is_named():
  found = pairing.of(['0', '1', '3'], ['0', '1', '2'])
  assert found.pairs == [(0, 0), (1, 1)] and found.alone == (['3'], ['2'])
  assert pairing.unmatched(found) == '1 real (3), 1 generated (2)'
  none = pairing.of(['a'], ['b', 'c'])
  assert not none.pairs and pairing.unmatched(none) == '1 real (a), 2 generated (b, c)'
  many = pairing.of([f'a{i}' for i in range(9)], ['a0'])
  assert pairing.unmatched(many) == '8 real (a1, a2, a3, a4, a5 and 3 more)'


def test_psnr_is_of_clips_of_one_name(tmp_path, make_clips):
  clips = make_clips(11, 1)
  real = write(tmp_path / 'real', clips, [f'v{i}' for i in range(11)])
  fake = write(tmp_path / 'fake', clips[::-1], [f'v{10 - i:02d}' for i in range(11)])
  result = scoring.score_folders(real, fake, ['psnr', 'ssim'], CUT)
  assert result.scores['psnr'].value == float('inf') and result.scores['ssim'].value == 1.0
  assert result.scores['psnr'].stamp['paired_by'] == 'relative path but for case and zeros'
  assert not result.notes
  other = write(tmp_path / 'other', clips, [f'clip_{i}' for i in range(20, 31)])
  result = scoring.score_folders(real, other, ['psnr'], CUT)
  assert result.scores['psnr'].value == float('inf'), 'v10 is the last'
  assert 'natural order' in result.notes[0] and result.notes[0].startswith('WARNING: psnr')
  (fake / 'v03.npz').rename(fake / 'v99.npz')
  with pytest.raises(ValueError, match=r'psnr compares.*1 real \(v3\), 1 generated \(v99\)'):
    scoring.score_folders(real, fake, ['motion_ratio', 'psnr'], CUT)
  assert scoring.score_folders(real, fake, ['motion_ratio'], CUT).scores, 'no pairs needed'


def test_samples_of_a_run_are_its_clips(tmp_path, make_clips):
  clips = make_clips(4, 1)
  run = tmp_path / 'run'
  for name in ('gan', 'hybrid'):
    sample_folders.write_samples(clips, run / 'samples' / name)
  real = write(tmp_path / 'real', clips, [f'clip_{i:04d}' for i in range(4)])
  result = scoring.score_folders(real, run / 'samples' / 'gan', ['psnr'], CUT)
  stamp = result.scores['psnr'].stamp
  assert result.scores['psnr'].value == float('inf') and stamp['clips_fake'] == 4
  whole = scoring.score_folders(run / 'samples' / 'gan', real, ['motion_ratio'], CUT)
  assert whole.scores['motion_ratio'].stamp['data_real'] == 'gan'
  for folder in (run, run / 'samples'):
    with pytest.raises(ValueError, match=r'samples of 2 methods; name one of them: .*/gan, .*/hyb'):
      scoring.score_folders(real, folder, ['psnr'], CUT)


def test_a_clip_and_its_preview_are_one(tmp_path, make_clips):
  clips = make_clips(3, 1)
  real = write(tmp_path / 'real', clips, ['a', 'b', 'c'])
  for name in ('a', 'b', 'c'):
    (real / f'{name}.gif').write_bytes(b'GIF89a')
  result = scoring.score_folders(real, real, ['psnr', 'motion_ratio'], CUT)
  assert result.scores['motion_ratio'].stamp['clips_real'] == 3
  assert {(p.name, why) for p, why in result.dropped} == {
    (f'{n}.gif', f'the same clip as {n}.npz, by its name') for n in 'abc'
  }
  left_out = clip_sides.twice(
    real, [real / n for n in ('x.gif', 'x.webm', 'x', 'y.gif', 'z/x.gif')]
  )
  assert left_out.keys() == {real / 'x.gif', real / 'x.webm'}, 'frames are what they were made of'


def test_a_split_is_read_or_refused(tmp_path, make_clips):
  clips = make_clips(5, 1)
  real = write(tmp_path / 'real', clips, ['train/a', 'train/b', 'train/c', 'Test/d', 'Test/e'])
  run = lambda folder, split: scoring.score_folders(
    folder, real / 'train', ['motion_ratio'], CUT, split=split
  )
  stamp = run(real, 'test').scores['motion_ratio'].stamp
  assert (stamp['clips_real'], stamp['split'], stamp['data_real']) == (2, 'test', 'Test')
  assert run(real / 'train', 'train').scores['motion_ratio'].stamp['clips_real'] == 3
  both = run(real, '')
  assert both.scores['motion_ratio'].stamp['clips_real'] == 5
  assert 'scored together; --split takes one' in both.notes[0]
  with pytest.raises(ValueError, match=r'--split=val: .* has no folder .*it has Test, train'):
    run(real, 'val')


def test_max_clips_draws_by_seed(tmp_path, make_clips):
  real = write(
    tmp_path / 'real', make_clips(12, 1), [f'{kind}/{i}' for kind in 'abc' for i in range(4)]
  )

  def drawn(seed, folder=real):
    both = Folders(folder, folder, Cut(frames=8, max_clips=4, seed=seed), 2)
    names = [str(files[0].path.relative_to(folder)) for files, _ in both.real.decoder.used()]
    paired = [[f.path.name for f in files] for files, _ in both.pairs.real.decoder.used()]
    assert all(one == other for one, other in paired) and len(paired) == 4
    return names

  assert drawn(0) == drawn(0) and len(drawn(0)) == 4
  assert set(drawn(0)) != set(drawn(1))
  assert len({name[0] for seed in range(3) for name in drawn(seed)}) == 3, 'of all classes'
