"""Scores of arrays: invariants, stamps, streaming, pluggable networks and clear errors."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from hgdt_jax.metrics import clip_sets, frechet, image, networks, protocol, score, table
from hgdt_jax.metrics.inception_score import inception_score

TEMPORAL = ('temporal_flickering', 'temporal_profile_consistency', 'motion_magnitude')


def mean_and_edges(images):
  """A small image network: mean colour, and mean gradients, of each channel."""
  x = images.astype(np.float32) / 255
  gradients = (np.abs(np.diff(x, axis=axis)).mean((1, 2)) for axis in (1, 2))
  return np.concatenate([x.mean((1, 2)), *gradients], axis=1)


def stub(name, features):
  return networks.FeatureNetwork(name, f'sha of {name}', {'resize': 'none', 'dims': 9}, features)


@pytest.fixture(scope='module')
def own():
  distance = lambda a, b: np.abs(a.astype(np.float32) - b).mean((1, 2, 3)) / 255
  return {
    'inception': stub('inception', mean_and_edges),
    'inception_logits': stub('inception_logits', mean_and_edges),
    'face': stub('face', lambda x: x.mean((1, 2)) / 255),
    'i3d': stub('i3d', lambda v: np.stack([mean_and_edges(c).mean(0) for c in v])),
    'lpips_alex': networks.DistanceNetwork('lpips_alex', 'sha', {'dims': 1}, distance),
    'lpips_vgg': networks.DistanceNetwork('lpips_vgg', 'sha', {'dims': 1}, distance),
  }


@pytest.fixture(scope='module')
def sets(make_clips):
  return make_clips(8, 1, frames=5), make_clips(8, 2, frames=5)


@pytest.fixture(scope='module')
def every(sets, own):
  return score.score_clips(*sets, list(table.METRICS), own_networks=own)


def test_every_metric_gives_a_number_and_a_whole_stamp(every):
  assert list(every) == list(table.METRICS)
  for name, one in every.items():
    assert np.isfinite(one.value), name
    wanted = {'clips_real': 8, 'clips_fake': 8, 'frames': 5, 'stride': 1, 'resolution': '32x32'}
    assert wanted.items() <= one.stamp.items(), name
    assert 'network_sha256' in one.stamp or 'definition' in one.stamp, name
    json.dumps(one.stamp, allow_nan=False)


def test_no_number_of_another_network_is_called_fvd_or_fid(every):
  for name, one in every.items():
    if 'random' in one.stamp.get('network', ''):
      assert name.endswith('random_conv3d')
      assert 'not trained' in one.stamp['network']


def test_values_are_those_of_the_functions(sets, own, every):
  real, fake = sets
  frames = lambda clips: mean_and_edges(clips.reshape(-1, 32, 32, 3))
  moments = lambda clips: frechet.Moments.from_features(frames(clips))
  fid = frechet.frechet_distance(moments(real), moments(fake), 1)
  assert every['fid'].value == pytest.approx(fid, rel=1e-6)
  assert every['fid'].stamp['ddof'] == 1 and every['fvd'].stamp['ddof'] == 0
  assert every['psnr'].value == pytest.approx(image.psnr(real, fake).mean())
  assert every['ssim'].value == pytest.approx(image.ssim(real, fake).mean())
  assert every['inception_score'].value == pytest.approx(inception_score(frames(fake))[0])
  gap = np.abs(real.astype(float) - fake).mean() / 255
  assert every['lpips'].value == pytest.approx(gap, rel=1e-5)
  colours = fake.mean((2, 3)) / 255
  acd_i = np.linalg.norm(colours - real[:, :1].mean((2, 3)) / 255, axis=-1).mean()
  assert every['acd_i'].value == pytest.approx(acd_i, rel=1e-5)
  pairs = [(i, j) for i in range(5) for j in range(i)]
  gaps = [np.abs(fake[:, i].astype(float) - fake[:, j]).mean() / 255 for i, j in pairs]
  assert every['acd_lpips'].value == pytest.approx(np.mean(gaps), rel=1e-5)


def test_identical_sets(sets, own, every):
  real, _ = sets
  names = [name for name in table.METRICS if name != 'warping_error']  # slow
  same = score.score_clips(real, real, names, own_networks=own)
  for name in ('fvd', 'fid', 'frechet_random_conv3d', 'lpips', 'lpips_vgg'):
    assert abs(same[name].value) < 1e-3 * every[name].value, name
  for name in ('precision', 'recall', 'ssim', 'motion_ratio'):
    assert same[name].value == pytest.approx(1.0), name
  assert same['psnr'].value == same['psnr_video'].value == float('inf')
  row = protocol.results_row('copy', same)
  assert row['metrics']['psnr'] is None and row['protocol']['psnr']['infinite']
  json.dumps(row, allow_nan=False)


def test_shuffled_frames_change_temporal_metrics_only(sets, own):
  real, _ = sets
  order = np.array([3, 0, 4, 1, 2])
  shuffled = real[:, order]
  names = [*TEMPORAL, 'motion_ratio', 'frechet_random_conv3d', 'fid', 'acd_colour', 'acd_lpips']
  plain, worse = (
    score.score_clips(real[:4], v[:4], names, own_networks=own) for v in (real, shuffled)
  )
  for name in ('motion_magnitude', 'frechet_random_conv3d'):
    assert worse[name].value > 1.2 * plain[name].value, name
  for name in ('temporal_flickering', 'temporal_profile_consistency'):
    assert worse[name].value < plain[name].value, name
  assert worse['motion_ratio'].value > 1.2
  assert worse['fid'].value < 1e-6
  for name in ('acd_colour', 'acd_lpips'):
    assert worse[name].value == pytest.approx(plain[name].value), name
  # per-frame image metrics do not care, as long as both are shuffled alike
  per_frame = ('psnr', 'ssim')
  blurred = ndimage.gaussian_filter(real, (0, 0, 1, 1, 0))
  a = score.score_clips(real, blurred, per_frame)
  b = score.score_clips(shuffled, blurred[:, order], per_frame)
  for name in per_frame:
    assert a[name].value == pytest.approx(b[name].value)


def test_frozen_copy_is_caught_by_the_motion_ratio(sets):
  real, _ = sets
  frozen = np.repeat(real[:, :1], 5, axis=1)
  scores = score.score_clips(real, frozen, ['temporal_flickering', 'motion_ratio'])
  assert scores['temporal_flickering'].value == 1.0
  assert scores['temporal_flickering'].stamp['real_value'] < 1.0
  assert scores['motion_ratio'].value == 0.0


def test_streaming_in_any_batches_gives_the_same(sets, own, every):
  names = ['fvd', 'fid', 'frechet_random_conv3d', 'psnr', 'motion_ratio']
  for batch in (1, 3, 8):
    real, fake = (clip_sets.ArrayClips(clips, batch) for clips in sets)
    pairs = clip_sets.Pairs(real, fake)
    scores = score.score_sets(real, fake, names, own_networks=own, pairs=pairs)
    for name in names:
      assert scores[name].value == pytest.approx(every[name].value, rel=1e-4), (name, batch)


def test_fvd_and_fid_never_hold_all_features(sets, own, monkeypatch):
  taken = []
  whole = frechet.Moments.from_features.__func__
  spy = classmethod(lambda cls, x: taken.append(len(x)) or whole(cls, x))
  monkeypatch.setattr(frechet.Moments, 'from_features', spy)
  real, fake = (clip_sets.ArrayClips(clips, 4) for clips in sets)
  score.score_sets(real, fake, ['fvd', 'fid'], own_networks=own)
  assert sorted(set(taken)) == [4, 20]  # clips and frames of one batch


def test_grey_clips_are_scored(sets):
  grey = [clips[..., :1] for clips in sets]
  names = ['frechet_random_conv3d', 'psnr', 'ssim', 'motion_ratio', 'temporal_profile_consistency']
  for name, one in score.score_clips(*grey, names).items():
    assert np.isfinite(one.value), name


def test_uncertainty(sets, own):
  how = score.Uncertainty(bootstrap=20, curve=True, infinity=True, seed=3)
  scores = score.score_clips(*sets, ['fid', 'recall', 'psnr', 'acd_colour'], None, how, own)
  assert list(scores) == ['fid', 'fid_infinity', 'recall', 'psnr', 'acd_colour']
  for name in ('fid', 'recall', 'psnr', 'acd_colour'):
    stamp = scores[name].stamp
    low, high = stamp['interval']
    assert low <= scores[name].value <= high and stamp['bootstrap'] == 20 and stamp['seed'] == 3
  assert 0.0 <= scores['recall'].stamp['interval'][0] <= scores['recall'].stamp['interval'][1] <= 1
  curve = scores['fid'].stamp['curve']
  assert curve[-1] == [8, pytest.approx(scores['fid'].value)]
  assert 'curve' not in scores['psnr'].stamp  # a mean has no bias to show
  extrapolated = scores['fid_infinity']
  assert extrapolated.stamp['points'] == curve and 'interval' not in extrapolated.stamp
  assert extrapolated.value < curve[0][1]


def test_small_sets_carry_a_warning(every):
  assert '8 clips, 2048 wanted' in every['fvd'].stamp['warning']
  assert '40 images, 10000 wanted' in every['fid'].stamp['warning']
  assert 'warning' not in every['psnr'].stamp


def test_the_published_protocol_is_named_only_when_it_is_followed(own):
  metric = table.find('fvd')
  make = lambda network: score.measures.make(metric.measure, lambda name: network)
  published = next(iter(protocol.PUBLISHED_I3D))
  measure = make(dataclasses.replace(own['i3d'], sha256=published))

  class Set:
    fingerprint, batches = '', iter  # of no clips: nothing is measured

    def __init__(self, clips, **facts):
      self.groups = np.arange(clips)
      self.facts = {'frames': 16, 'stride': 1, 'window_stride': 0, 'resolution': '64x64'} | facts

  stamp = lambda real, fake, measure=measure: protocol.stamp(
    'fvd', metric, measure, real, fake
  ).get('protocol')
  assert stamp(Set(2048), Set(2048)) == 'fvd2048_16f'
  assert stamp(Set(2048), Set(2047)) is None
  assert stamp(Set(2048, stride=2), Set(2048, stride=2)) is None
  assert stamp(Set(2048, stride=2), Set(2048)) is None
  assert stamp(Set(2048), Set(2048), make(own['i3d'])) is None, 'another network'
  assert stamp(Set(2048, window_stride=16), Set(2048, window_stride=16)) is None
  assert stamp(Set(2048, resolution='32x32'), Set(2048)) is None
  assert stamp(Set(2048, fps=25.0), Set(2048, fps=25.0)) == 'fvd2048_16f'
  assert stamp(Set(2048, fps=25.0), Set(2048, fps=8.0)) is None
  assert stamp(Set(2048, fps=25.0), Set(2048)) is None, 'a rate that is not known'
  assert stamp(Set(2048, fps=[8.0, 25.0]), Set(2048, fps=[8.0, 25.0])) is None
  mixed = Set(2048, resolution='32x32, 64x64')
  assert stamp(mixed, mixed) is None


def test_facts_on_which_the_sets_differ_are_given_for_both(sets):
  real, fake = sets
  scores = score.score_clips(real, fake[:, :, :20], ['motion_ratio'], split='test')
  stamp = scores['motion_ratio'].stamp
  assert stamp['resolution_real'] == '32x32' and stamp['resolution_fake'] == '32x20'
  assert stamp['split'] == 'test'


def test_a_fact_that_is_not_known_is_left_out(sets):
  stamp = score.score_clips(*sets, ['motion_ratio'], stride=None, fps=12.5)['motion_ratio'].stamp
  assert 'stride' not in stamp and stamp['fps'] == 12.5


def test_clear_errors(sets, own):
  real, fake = sets
  check = lambda match, *args, **options: pytest.raises(ValueError, match=match)
  with check(r"no metric 'fdv'; there are fvd"):
    score.score_clips(real, fake, ['fdv'])
  with check('frechet_random_conv3d needs at least 2 clips in each set, got 8 real and 1 gen'):
    score.score_clips(real, fake[:1], ['frechet_random_conv3d'])
  with check('psnr compares clip with clip, and there are 8 real and 7 generated'):
    score.score_clips(real, fake[:7], ['psnr'])
  with check('paired clips differ in shape'):
    score.score_clips(real, fake[:, :, :20], ['psnr'])
  with check('clips must be uint8'):
    score.score_clips(real / 255.0, fake, ['psnr'])
  still = np.full((3, 4, 32, 32, 3), 9, np.uint8)
  with check('motion_ratio: the real clips do not move'):
    score.score_clips(still, still, ['motion_ratio'])
  with check('temporal_profile_consistency: undefined for every clip'):
    score.score_clips(still, still, ['temporal_profile_consistency'])
  with check('motion_ratio: needs clips of at least 2 frames, got 1'):
    score.score_clips(real[:, :1], fake[:, :1], ['motion_ratio'])
  nan = {'i3d': stub('i3d', lambda v: np.full((len(v), 4), np.nan, np.float32))}
  for how in (score.VALUES_ONLY, score.Uncertainty(bootstrap=2)):
    with check('(clip_i3d|fvd): features of sample 0 of .* are NaN'):
      score.score_clips(real, fake, ['fvd'], None, how, nan)
  with check('at least 2 files'):
    score.score_clips(real[:1], fake[:1], ['psnr'], None, score.Uncertainty(bootstrap=5))


def test_missing_weights_are_found_before_anything_is_measured(sets, tmp_path):
  class Untouched(clip_sets.ArrayClips):
    def batches(self):
      raise AssertionError('measured before the weights were found')

  real, fake = (Untouched(clips) for clips in sets)
  with pytest.raises(FileNotFoundError, match='inception'):
    score.score_sets(real, fake, ['motion_ratio', 'fid'], weights_dir=tmp_path)
