"""What a stamp says was done, was."""

import json
import math

import av
import numpy as np
from PIL import Image

from hgdt_jax import scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.metrics import networks, protocol, score

CUT = Cut(frames=8)


def test_container_and_codec_of_each_side(tmp_path, make_clips):
  clips = make_clips(2, 1)
  (tmp_path / 'frames' / '0').mkdir(parents=True)
  for t, frame in enumerate(clips[0]):
    Image.fromarray(frame).save(tmp_path / 'frames' / '0' / f'{t}.png')
  np.save(tmp_path / 'frames' / '1.npy', clips[1])
  (tmp_path / 'films').mkdir()
  for i, clip in enumerate(clips):
    with av.open(str(tmp_path / 'films' / f'{i}.mp4'), 'w') as container:
      stream = container.add_stream('libx264', rate=8, width=32, height=32, pix_fmt='yuv420p')
      for frame in clip:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
      container.mux(stream.encode())
  found = scoring.score_folders(tmp_path / 'frames', tmp_path / 'films', ['motion_ratio'], CUT)
  stamp = found.scores['motion_ratio'].stamp
  assert stamp['stored_as_real'] == 'npy, png frames'
  assert stamp['stored_as_fake'] == 'mp4 h264 yuv420p'


def test_how_many_samples_a_value_rests_on(make_clips):
  real = make_clips(4, 1)
  fake = real.copy()
  fake[0, 0] = 255 - fake[0, 0]  # one of 32 frames differs
  found = score.score_clips(real, fake, ['psnr', 'ssim', 'motion_ratio', 'frechet_random_conv3d'])
  stamp = found['psnr'].stamp
  assert (stamp['samples'], stamp['samples_measured']) == (1, 32)
  assert stamp['warning'].startswith('mean over 1 of 32 samples')
  assert 'psnr: mean over 1 of 32 samples' in scoring.table(found)
  assert found['ssim'].stamp['samples'] == 32 and 'warning' not in found['ssim'].stamp
  stamp = found['frechet_random_conv3d'].stamp
  assert stamp['samples_real'] == stamp['samples_fake'] == 4


def test_a_kernel_distance_below_0_is_explained(make_clips):
  clips = make_clips(16, 1)
  found = score.score_clips(clips[:8], clips[8:], ['kernel_random_conv3d'])['kernel_random_conv3d']
  same = score.score_clips(clips, clips, ['kernel_random_conv3d'])['kernel_random_conv3d']
  assert same.value < 0
  assert '16 clips, 100 wanted' in same.stamp['warning']
  assert 'below 0: the estimate is unbiased' in same.stamp['warning']
  assert ('below 0' in found.stamp['warning']) == (found.value < 0)


def test_four_digits():
  wanted = {
    489.9674: '490.0', 0.46069: '0.4607', 12345.6: '12346', -36.68341: '-36.68', 0.0: '0.000',
    1.23456e-5: '1.235e-05', 3e-15: '0.000', float('inf'): 'inf', float('nan'): 'undefined',
  }  # fmt: skip
  assert {value: scoring.number(value) for value in wanted} == wanted


def test_clips_that_were_drawn_have_their_seed_in_the_stamp(folders):
  some = scoring.score_folders(*folders, ['motion_ratio'], Cut(frames=8, max_clips=2, seed=3))
  stamp = some.scores['motion_ratio'].stamp
  assert (stamp['clips_fake'], stamp['max_clips'], stamp['drawn_by_seed']) == (2, 2, 3)
  every = scoring.score_folders(*folders, ['motion_ratio'], CUT).scores['motion_ratio'].stamp
  assert every['clips_fake'] == 4 and not {'max_clips', 'drawn_by_seed'} & every.keys()


def test_an_extrapolation_keeps_the_warning_and_adds_its_own(make_clips):
  how = score.Uncertainty(infinity=True)
  found = score.score_clips(
    make_clips(8, 1), make_clips(8, 2), ['fvd'], None, how, {'i3d': _mean_colours()}
  )
  one = found['fvd_infinity']
  assert one.value >= 0
  assert '8 samples of 3 dimensions: the bias is linear in 1/N from 12 on' in one.stamp['warning']
  assert '8 clips, 2048 wanted' in one.stamp['warning']


def test_too_few_clips_are_not_extrapolated_beside_enough(make_clips):
  """Of 128 dimensions no 8 clips say anything; of 3, they do."""
  how = score.Uncertainty(infinity=True)
  found = score.score_clips(
    *(make_clips(8, 1), make_clips(8, 2), ['frechet_random_conv3d', 'fvd'], None, how),
    own_networks={'i3d': _mean_colours()},
  )
  one = found['frechet_random_conv3d_infinity']
  assert '8 samples of 128 dimensions, 256 needed' in one.stamp['undefined']
  assert 'too low below' not in one.stamp['warning']
  assert math.isnan(one.value) and found['fvd_infinity'].value >= 0
  json.dumps(protocol.results_row('x', found), allow_nan=False)


def _mean_colours():
  features = lambda clips: clips.mean(axis=(1, 2, 3))
  return networks.FeatureNetwork('i3d', '0', {'dims': 3}, features)


def test_an_interval_without_width_is_none(make_clips):
  """Two clips have one resampling with both in it: that it does not vary proves nothing."""
  how = score.Uncertainty(bootstrap=20)
  found = score.score_clips(
    make_clips(2, 1), make_clips(2, 2), ['kernel_random_conv3d'], None, how
  )['kernel_random_conv3d']
  assert 'interval' not in found.stamp
  assert 'do not vary' in found.stamp['no_interval']
