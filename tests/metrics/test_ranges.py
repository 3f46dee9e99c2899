"""Pixels of another range, and axes in another order, are never scored."""

import numpy as np
import pytest

from hgdt_jax import scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.metrics import score

CUT = Cut(frames=8)


def stored(root, clips):
  root.mkdir(exist_ok=True)
  for i, clip in enumerate(clips):
    np.savez(root / f'{i}.npz', video=clip)
  return root


@pytest.mark.parametrize(
  ('cast', 'says'),
  [
    (lambda c: (c / 255.0).round().astype(np.uint8), 'pixels are 0, 1 alone'),
    (lambda c: (c / 127.5 - 1).astype(np.int8).view(np.uint8), 'pixels are 0, 1, 255 alone'),
    (lambda c: c >> 6, 'brighter than 3 of 255: 10 or 12 bits'),  # 10 bits in 16, cut to 8
    (lambda c: c >> 4, 'brighter than 15 of 255: 10 or 12 bits'),
  ],
)
def test_another_range_is_refused(folders, make_clips, tmp_path, cast, says):
  clips = make_clips(4, 2)
  clips[0, 0, 0, 0], clips[0, 0, 0, 1] = 255, 0
  other = stored(tmp_path / 'other', cast(clips))
  for real, fake in ((folders[0], other), (other, folders[0])):
    with pytest.raises(ValueError, match=f'other: .*{says}'):
      scoring.score_folders(real, fake, ['motion_ratio'], CUT)
  if ' alone' in says:
    with pytest.raises(ValueError, match=says):
      score.score_clips(clips, cast(clips), ['motion_ratio'])


@pytest.mark.parametrize('bits', [10, 12, 16])
def test_bits_in_16_are_told_by_the_range(folders, make_clips, tmp_path, bits):
  clips = make_clips(4, 2)
  clips[:, 0, 0, 0] = 255
  deep = stored(tmp_path / 'deep', clips.astype(np.uint16) << (bits - 8))
  shallow = stored(tmp_path / 'shallow', clips)
  found = scoring.score_folders(shallow, deep, ['psnr'], CUT)
  assert found.scores['psnr'].value == np.inf


@pytest.mark.parametrize(
  'cast',
  [
    lambda c: c.astype(np.uint16) * 257,
    lambda c: c * 0,
    lambda c: np.where(c > 127, 255, 0).astype(np.uint8),
    lambda c: np.concatenate([c[:1] * 0 + 1, c[1:]]),  # one dark clip among others
  ],
)
def test_all_of_the_range_black_and_masks_are_scored(folders, make_clips, tmp_path, cast):
  other = stored(tmp_path / 'other', cast(make_clips(4, 2)))
  found = scoring.score_folders(folders[0], other, ['temporal_flickering'], CUT)
  assert 0.9 < found.scores['temporal_flickering'].value <= 1


@pytest.mark.parametrize(('order', 'axis'), [((0, 4, 1, 2, 3), 1), ((0, 1, 4, 2, 3), 2)])
def test_channels_come_last(make_clips, order, axis):
  clips = make_clips(3, 1)
  moved = clips.transpose(order)
  with pytest.raises(ValueError, match=rf'C of 1 or 3, got .*moveaxis\(clips, {axis}, -1\)'):
    score.score_clips(clips, moved, ['motion_ratio'])
  assert score.score_clips(clips, np.moveaxis(moved, axis, -1), ['psnr'])['psnr'].value == np.inf
