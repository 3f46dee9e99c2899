"""Temporal metrics: exact flow, VBench's definition, shuffled and frozen clips."""

import itertools

import numpy as np
import pytest

from hgdt_jax.metrics import temporal
from input_pipeline.synthetic import Synthetic


@pytest.fixture(scope='module')
def clip(make_clips):
  return make_clips(1, 0)[0]


@pytest.fixture(scope='module')
def sliding():
  """A smooth texture moving right by one pixel and down by two, with its flow and mask."""
  rng = np.random.default_rng(1)
  y, x = np.mgrid[:40, :40]
  phases = rng.uniform(0, 6, (6, 1, 1))
  waves = rng.uniform(-0.6, 0.6, (6, 2, 1, 1))
  texture = np.sin(waves[:, 0] * x + waves[:, 1] * y + phases).reshape(3, 2, 40, 40).sum(1)
  texture = (127 + 60 * np.moveaxis(texture, 0, -1)).clip(0, 255).astype(np.uint8)
  video = np.stack([np.roll(texture, (2 * t, t), (0, 1))[8:32, 8:32] for t in range(4)])
  flow = np.broadcast_to(np.array([-1.0, -2.0]), (3, 24, 24, 2))
  mask = np.zeros((3, 24, 24), bool)
  mask[:, 2:, 1:] = True
  return video, flow, mask


def test_true_flow_explains_a_sliding_texture(sliding):
  video, flow, mask = sliding
  assert temporal.warping_error(video, flow, mask) < 1e-12
  assert temporal.warping_error(video, -flow, mask) > 1e-3  # the sign is a convention
  assert temporal.warping_error(video, flow[..., ::-1], mask) > 1e-3  # and so is (dx, dy)


def test_warping_error_is_the_masked_mean_square(sliding):
  video, flow, mask = sliding
  spoilt = video.copy()
  spoilt[1, 5, 5] ^= 0xFF
  mask = mask & (np.arange(3) == 0).reshape(3, 1, 1)  # only the first pair counts
  gap = (spoilt[1, 5, 5] / 255 - video[1, 5, 5] / 255) ** 2
  want = gap.mean() / mask[0].sum()
  assert temporal.warping_error(spoilt, flow, mask) == pytest.approx(want, rel=1e-9)
  mask[0, 5, 5] = False  # an occluded pixel costs nothing
  assert temporal.warping_error(spoilt, flow, mask) < 1e-12
  assert np.isnan(temporal.warping_error(video, flow, np.zeros_like(mask)))


def test_true_flow_of_the_synthetic_source():
  source = Synthetic(6, 32, 4, seed=0, split='test')
  for i in range(4):
    video, (flow, mask) = source[i]['video'], source.flow(i)
    error = temporal.warping_error(video, flow, mask)
    assert error < 5e-5
    assert temporal.warping_error(video, np.zeros_like(flow), mask) > 5 * error


def test_estimated_flow_finds_the_motion(sliding):
  video, flow, mask = sliding
  found, valid = temporal.estimate_flow(video)
  both = mask & valid
  assert both.sum() > 0.9 * mask.sum()
  assert np.linalg.norm(found - flow, axis=-1)[both].mean() < 0.25
  assert temporal.warping_error(video, found, valid) < 1e-3
  lengths = np.linalg.norm(found, axis=-1)[valid]
  assert lengths.mean() == pytest.approx(np.sqrt(5), rel=0.1)


def test_occlusion_mask_leaves_out_what_appears_from_nowhere():
  """A bright square is there in the second frame only: nothing in the first maps onto it."""
  rng = np.random.default_rng(3)
  video = np.repeat(rng.integers(60, 120, (1, 32, 32, 1), np.uint8), 2, 0)
  video[1, 10:20, 10:20] = 250
  _, valid = temporal.estimate_flow(video)
  assert valid[0, 24:, 24:].mean() > 0.95
  assert valid[0, 11:19, 11:19].mean() < 0.6


def test_flickering_is_vbench_formula(clip):
  mae = [np.mean(np.abs(a.astype(int) - b.astype(int))) for a, b in itertools.pairwise(clip)]
  assert temporal.temporal_flickering(clip) == pytest.approx((255 - np.mean(mae)) / 255, rel=1e-12)
  assert temporal.motion_magnitude(clip) == pytest.approx(np.mean(mae) / 255, rel=1e-12)


def test_shuffled_frames_are_worse_by_every_temporal_metric(make_clips):
  order = np.array([3, 7, 0, 5, 2, 6, 1, 4])
  for clip in make_clips(3, 5):
    shuffled = clip[order]
    assert temporal.motion_magnitude(shuffled) > 1.2 * temporal.motion_magnitude(clip)
    assert temporal.temporal_flickering(shuffled) < temporal.temporal_flickering(clip)
    consistency = temporal.temporal_profile_consistency
    assert consistency(shuffled) < consistency(clip) - 0.02
    error = lambda v: temporal.warping_error(v, *temporal.estimate_flow(v))
    assert error(shuffled) > error(clip)


def test_a_frozen_clip_is_consistent_and_caught_by_motion(clip):
  frozen = np.repeat(clip[:1], len(clip), axis=0)
  assert temporal.temporal_flickering(frozen) == 1.0
  assert temporal.temporal_profile_consistency(frozen) == pytest.approx(1.0)
  assert temporal.warping_error(frozen, *temporal.estimate_flow(frozen)) < 1e-12
  assert temporal.motion_magnitude(frozen) == 0.0 < temporal.motion_magnitude(clip)


def test_constant_clip_has_no_profile():
  assert np.isnan(temporal.temporal_profile_consistency(np.full((3, 16, 16, 3), 7, np.uint8)))


def test_clear_errors(clip):
  with pytest.raises(ValueError, match='at least 2 frames'):
    temporal.motion_magnitude(clip[:1])
  with pytest.raises(ValueError, match='uint8'):
    temporal.temporal_flickering(clip / 255.0)
  with pytest.raises(ValueError, match=r'needs flow \[7, 32, 32, 2\]'):
    temporal.warping_error(clip, np.zeros((7, 32, 2)), np.ones((7, 32, 32)))
