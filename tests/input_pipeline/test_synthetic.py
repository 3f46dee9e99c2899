"""The synthetic source: what a clip depends on, and flow against what is drawn."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from input_pipeline import synthetic
from input_pipeline.synthetic import CLASSES, Layer, Scene, Synthetic, backward_flow, render

SHAPE = Layer(
  shape='square', radius=0.25, centre=(0.45, 0.5), contrast=0.1, waves=(0.8, 0.6), phase=0.3
)
MOTIONS = {
  'translation': {'velocity': (1.7 / 32, -0.9 / 32)},
  'bounce': {'centre': (0.65, 0.5), 'velocity': (2.5 / 32, 0.0), 'box': (0.3, 0.7)},
  'rotation': {'spin': 0.09, 'angle': 0.4},
  'scaling': {'zoom': 0.15, 'zoom_phase': 0.5},
  'all': {'velocity': (0.05, 0.02), 'spin': -0.08, 'zoom': 0.1},
}


def warp(frame, flow):
  """Bilinear backward warp of [H, W, C] by [H, W, 2]."""
  y, x = np.mgrid[: flow.shape[0], : flow.shape[1]]
  at = [y + flow[..., 1], x + flow[..., 0]]
  bands = [map_coordinates(c, at, order=1) for c in np.moveaxis(frame.astype(float), -1, 0)]
  return np.stack(bands, axis=-1)


def test_items_are_what_the_contract_says():
  item = Synthetic(8, 32, 10, seed=0, split='train')[3]
  assert item['video'].shape == (8, 32, 32, 3) and item['video'].dtype == np.uint8
  assert item['label'].dtype == np.int32 and item['id'].dtype == np.int64
  assert Synthetic(4, 16, 10, 0, 'train', channels=1)[3]['video'].shape == (4, 16, 16, 1)


def test_a_clip_depends_on_seed_split_and_index_alone():
  source = Synthetic(4, 16, 8, seed=5, split='train')
  first = source[6]['video']
  source[1], source.flow(2)
  same = [source, Synthetic(4, 16, 100, 5, 'train'), pickle.loads(pickle.dumps(source))]
  assert all((s[6]['video'] == first).all() for s in same)
  others = [Synthetic(4, 16, 8, 6, 'train')[6], Synthetic(4, 16, 8, 5, 'test')[6], source[2]]
  assert all((other['video'] != first).mean() > 0.1 for other in others)


def test_a_longer_clip_is_the_same_scene_going_on():
  short, long = (Synthetic(t, 16, 8, seed=1, split='train')[3]['video'] for t in (4, 9))
  np.testing.assert_array_equal(long[:4], short)


def test_classes_take_turns_and_are_the_shape():
  source = Synthetic(2, 16, 40, seed=0, split='train')
  labels = [int(source[i]['label']) for i in range(40)]
  assert np.bincount(labels).tolist() == [10] * 4
  assert all(source.scene(i).layers[0].shape == source.classes[labels[i]] for i in range(40))


def test_scenes_are_calm_enough_to_learn():
  """One bright object, a dark background, 1 to 2.5 pixels a frame at 32x32, few occluders."""
  source = Synthetic(8, 32, 200, seed=0, split='train')
  speeds = [32 * math.hypot(*source.scene(i).layers[0].velocity) for i in range(200)]
  assert 1 <= min(speeds) < 1.2 and 2.3 < max(speeds) <= 2.5
  assert 0.15 < np.mean([len(source.scene(i).layers) > 1 for i in range(200)]) < 0.35
  for i in range(20):
    luma = source[i]['video'].max(-1)
    assert np.median(luma) < 90, 'background'
    assert 0.04 < (luma > 125).mean() < 0.35, 'object'


def test_light_changes_over_the_clip_and_over_the_frame():
  still = Scene((SHAPE,), gain=0.1)
  video = render(still, 9, 16).astype(float)
  assert np.ptp(video[:, 8, 7].sum(-1)) > 10
  flat = render(Scene((), dark=((0.5,), (0.5,)), tilt=0.2), 1, 16)[0, :, :, 0]
  assert int(flat[0, -1]) - int(flat[0, 0]) > 20


@pytest.mark.parametrize('shape', synthetic.CLASSES)
def test_edges_are_antialiased_and_the_area_is_right(shape):
  """Sum of cover = area of the outline in pixels; this is what a wrong distance breaks."""
  area = {
    'disc': math.pi,
    'square': 1.7**2,
    'triangle': 3 * math.sqrt(3) / 4 * 1.15**2,
    'ring': math.pi * (1.05**2 - 0.45**2),
  }[shape]
  layer = Layer(shape, radius=0.25, centre=(0.51, 0.49), colour=(1.0,), angle=0.3)
  video = render(Scene((layer,), dark=((0.0,), (0.0,))), 1, 64)[0] / 255
  np.testing.assert_allclose(video.sum(), area * (0.25 * 64) ** 2, rtol=0.02)
  assert ((video > 0.05) & (video < 0.95)).sum() > 20


@pytest.mark.parametrize('motion', MOTIONS)
def test_each_motion_has_exact_flow(motion):
  scene = Scene((dataclasses.replace(SHAPE, **MOTIONS[motion]),), dark=((0.1,) * 3, (0.3,) * 3))
  video, (flow, mask) = render(scene, 8, 64), backward_flow(scene, 8, 64)
  assert flow.shape == (7, 64, 64, 2) and flow.dtype == np.float32 and mask.dtype == bool
  for t in range(7):
    error = np.abs(warp(video[t], flow[t]) - video[t + 1])[mask[t]]
    assert error.max() < 2.5, 'grey levels; bilinear interpolation of the texture is the rest'
    moved = np.abs(flow[t]).sum(-1) > 0
    assert (mask[t] & moved).sum() > 400, 'most of the object is compared'
    assert (flow[t][~moved] == 0).all()


def test_flow_by_whole_pixels_gives_the_next_frame_to_the_bit():
  layer = dataclasses.replace(SHAPE, velocity=(2 / 32, -1 / 32))
  scene = Scene((layer,))
  video, (flow, mask) = render(scene, 3, 32).astype(int), backward_flow(scene, 3, 32)
  inside = mask[0] & (np.abs(flow[0]).sum(-1) > 0)
  np.testing.assert_allclose(flow[0][inside], [[-2, 1]] * inside.sum(), atol=1e-5)
  shifted = np.roll(video[0], (-1, 2), (0, 1))
  assert np.abs(shifted - video[1])[inside].max() <= 1  # rounding of a float32 sum


def test_flow_follows_rotation_to_the_closed_form():
  """A quarter of a radian about the centre: q = c + R(-spin) (p - c)."""
  layer = Layer('disc', radius=0.3, centre=(0.5, 0.5), spin=0.25)
  flow, mask = backward_flow(Scene((layer,)), 2, 32)
  x, y = 20, 13
  dx, dy = x + 0.5 - 16, y + 0.5 - 16
  want = [math.cos(0.25) * dx + math.sin(0.25) * dy - dx]
  want += [-math.sin(0.25) * dx + math.cos(0.25) * dy - dy]
  assert mask[0, y, x]
  np.testing.assert_allclose(flow[0, y, x], want, atol=1e-5)


def test_what_an_occluder_uncovers_is_masked():
  """A bar passes over the object: behind it both old and new surfaces are unknown."""
  bar = Layer('bar', 0.08, (0.3, 0.5), velocity=(3 / 32, 0.0), colour=(0.4,) * 3)
  still = dataclasses.replace(SHAPE, centre=(0.5, 0.5))
  scene = Scene((still, bar))
  video, (flow, mask) = render(scene, 6, 64), backward_flow(scene, 6, 64)
  for t in range(5):
    assert np.abs(warp(video[t], flow[t]) - video[t + 1])[mask[t]].max() < 2.5
    left_edge = 64 * (0.3 - 0.08 + 3 / 32 * t)  # uncovered from here by 6 pixels
    strip = slice(round(left_edge) + 1, round(left_edge) + 5)
    assert not mask[t, :, strip].any() and (flow[t, :, strip] == 0).all()
  assert mask.mean() > 0.6


def test_random_clips_are_warped_onto_the_next_frame():
  source = Synthetic(8, 32, 24, seed=2, split='test')
  for i in range(24):
    video, (flow, mask) = source[i]['video'], source.flow(i)
    warped = np.stack([warp(video[t], flow[t]) for t in range(7)])
    assert np.abs(warped - video[1:])[mask].mean() < 1.5  # grey levels: the light changes too
    assert mask.mean() > 0.5


@pytest.mark.parametrize(
  ('change', 'word'),
  [({'split': 'val'}, 'val'), ({'size': 0}, 'size'), ({'channels': 2}, 'channels')],
)
def test_wrong_arguments_are_named(change, word):
  arguments = {'frames': 4, 'size': 16, 'count': 4, 'seed': 0, 'split': 'train'} | change
  with pytest.raises(ValueError, match=word):
    Synthetic(**arguments)


def test_truth_is_what_is_drawn():
  """Of every class: the mass of the pixels lies at the centre, and its colour is that painted."""
  source, size, seen = Synthetic(4, 256, 80, seed=3, split='train'), 256, set()
  for i in range(80):
    scene, known = source.scene(i), source.truth(i)
    if known.centre.min() < 0.3 or known.centre.max() > 0.7:
      continue  # the frame may cut it
    layer = scene.layers[0]
    video = render(dataclasses.replace(scene, layers=(layer,)), 4, size) / 255
    t, points = np.arange(4), synthetic._grid(size)
    mass = layer.distance(layer.to_shape(points, t), t, size) < -1  # beside its edges
    places = np.stack([points[:, 0][:, m].mean(-1) for m in mass])
    np.testing.assert_allclose(places, known.centre, atol=2e-3)
    colours = np.stack([v[m].mean(0) for v, m in zip(video, mass)])
    np.testing.assert_allclose(colours, known.colour, atol=5e-3)
    assert known.shape == CLASSES[i % 4]
    seen.add(known.shape)
  assert seen == set(CLASSES)


def test_truth_of_motion_size_and_what_covers_it():
  layer = dataclasses.replace(SHAPE, velocity=(0.01, -0.02), spin=0.1, zoom=0.1)
  bar = Layer(shape='bar', radius=0.06, centre=(0.45, 0.5), colour=(0.4, 0.4, 0.4))
  known = synthetic.truth(Scene((layer,)), 7)
  np.testing.assert_allclose(np.diff(known.centre, axis=0), [[0.01, -0.02]] * 6)
  np.testing.assert_allclose(known.radius[6], 0.25 * 1.1)
  np.testing.assert_allclose(np.diff(known.angle), 0.1)
  assert not known.occluded and not known.covered.any()
  covered = synthetic.truth(Scene((layer, bar)), 7)
  np.testing.assert_array_equal(covered.colour, known.colour)
  side = 2 * 0.85 * 0.25  # of the square
  assert covered.occluded and covered.covered[0] == pytest.approx(0.12 / side, rel=0.05)


def test_truth_of_a_clip_is_that_of_its_scene():
  source = Synthetic(5, 16, 8, seed=1, split='test', channels=1)
  known = source.truth(-1)
  assert known.centre.shape == (5, 2) and known.colour.shape == (5, 1)
  assert known.occluded == (len(source.scene(7).layers) > 1)
  for one, other in zip(dataclasses.astuple(known), dataclasses.astuple(source.truth(7))):
    np.testing.assert_array_equal(one, other)
