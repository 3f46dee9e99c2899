"""The probe against the truth, and each measure of drift against clips with that one fault."""

import dataclasses
import pathlib
import tomllib

import numpy as np
import pytest
from scipy import ndimage

from hgdt_jax.metrics import drift, probe, score, table, temporal
from input_pipeline import synthetic

SIZE, FRAMES, CLIPS = 32, 16, 32
NAMES = tuple(name for name, metric in table.METRICS.items() if metric.measure == drift.NAME)


@pytest.fixture(scope='module')
def source():
  return synthetic.Synthetic(FRAMES, SIZE, CLIPS, seed=7, split='test')


@pytest.fixture(scope='module')
def real(source):
  return np.stack([source[i]['video'] for i in range(CLIPS)])


@pytest.fixture(scope='module')
def columns():
  """`columns(clips)`: the mean of each column over clips."""

  def measured(clips):
    rows = drift.measure(clips, probe.read(clips))
    return dict(zip(drift.COLUMNS, np.nanmean(rows, axis=0), strict=True))

  return measured


@pytest.fixture(scope='module')
def of_real(real, columns):
  return columns(real)


def stacked(source, field):
  return np.stack([getattr(source.truth(i), field) for i in range(len(source))])


def errors(source):
  """Mean errors of the probe over the frames in which nothing covers the object."""
  seen = probe.read(np.stack([source[i]['video'] for i in range(len(source))]))
  free = stacked(source, 'covered') == 0
  label = np.array([source[i]['label'] for i in range(len(source))])[:, None]
  centre, colour = seen.centre - stacked(source, 'centre'), seen.colour - stacked(source, 'colour')
  return {
    'accuracy': (seen.classes.argmax(-1) == label)[free].mean(),
    'radius': np.abs(seen.radius / stacked(source, 'radius') - 1)[free].mean(),
    'centre': np.linalg.norm(centre, axis=-1)[free].mean() * SIZE,
    'colour': np.linalg.norm(colour, axis=-1)[free].mean(),
  }


# The probe.


@pytest.mark.parametrize('size', [32, 64])
def test_errors_on_frames_that_were_never_trained_on(size):
  """Recorded with the weights, and found again on other clips."""
  found = errors(synthetic.Synthetic(FRAMES, size, 64, seed=11, split='test'))
  recorded = probe.network().protocol['held_out_errors']
  for name, limit in {'radius': 0.02, 'centre': 0.2, 'colour': 0.02}.items():
    assert found[name] < limit and recorded[name] < limit, name
    assert found[name] < 1.5 * recorded[name], name
  assert found['accuracy'] > 0.985 and recorded['accuracy'] > 0.985


def test_what_is_covered_or_spoilt_is_read_less_well_but_read():
  recorded = probe.network().protocol['held_out_errors']
  for kind, accuracy in (('covered', 0.95), ('spoilt', 0.99)):
    assert recorded[f'accuracy_{kind}'] > accuracy
    for name, limit in {'radius': 0.06, 'centre': 0.6, 'colour': 0.05}.items():
      assert recorded[name] < recorded[f'{name}_{kind}'] < limit, (name, kind)


def test_a_reading_has_ranges_and_depends_on_its_frame_alone(real):
  seen = probe.read(real[:3])
  np.testing.assert_allclose(seen.classes.sum(-1), 1, atol=1e-5)
  assert (seen.radius > 0).all()
  for name in ('centre', 'colour'):
    field = getattr(seen, name)
    assert field.dtype == np.float32 and field.min() >= 0 and field.max() <= 1, name
  alone = probe.read(real[1:2, 5:6])
  for field, same in zip(seen, alone):
    np.testing.assert_allclose(same[0, 0], field[1, 5], rtol=1e-4, atol=1e-5)


def test_the_probe_knows_the_classes_of_the_source():
  assert probe.CLASSES == synthetic.CLASSES


def test_the_weights_are_in_the_wheel():
  project = tomllib.loads((pathlib.Path(__file__).parents[2] / 'pyproject.toml').read_text())
  packaged = project['tool']['setuptools']['package-data']['hgdt_jax.metrics']
  assert probe.WEIGHTS.name in packaged and probe.WEIGHTS.stat().st_size < 60_000


def test_other_clips_are_refused(real):
  with pytest.raises(
    ValueError, match=r'reads uint8 clips \[B, T, S, S, C\], got \[32, 16, 32, 20'
  ):
    probe.read(real[:, :, :, :20])
  with pytest.raises(ValueError, match='want uint8'):
    probe.read(real[:1] / 255.0)
  with pytest.raises(ValueError, match='drift needs at least 3 frames, got 2'):
    drift.measure(real[:, :2], probe.read(real[:, :2]))


# What each column sees. Faults of the main object are drawn, so nothing else changes.


def recoloured(layer, t, rng):
  return {'colour': tuple((layer.colour + rng.normal(0, 0.06, 3)).tolist())}


def rescaled(layer, t, rng):
  return {'radius': layer.radius * float(np.exp(rng.normal(0, 0.08)))}


def swapped(layer, t, rng):
  other = {'disc': 'triangle', 'square': 'ring', 'triangle': 'disc', 'ring': 'square'}
  return {'shape': other[layer.shape] if t >= FRAMES // 2 else layer.shape}


def shaken(layer, t, rng):
  return {'centre': tuple((layer.centre + rng.normal(0, 0.03, 2)).tolist())}


def shrinking(layer, t, rng):
  return {'radius': layer.radius * (1.15 - 0.3 * t / FRAMES)}


def fading(layer, t, rng):
  other = np.roll(layer.colour, 1)
  return {'colour': tuple((layer.colour + 0.8 * t / FRAMES * (other - layer.colour)).tolist())}


def faster(layer, t, rng):
  return {'velocity': tuple(2 * v for v in layer.velocity)}


def redrawn(source, fault):
  """The clips of a source, frame t of each with `fault(layer, t, rng)` put into layer 0."""
  clips = np.empty((CLIPS, FRAMES, SIZE, SIZE, 3), np.uint8)
  for i in range(CLIPS):
    scene, rng = source.scene(i), np.random.default_rng((5, i))
    for t in range(FRAMES):
      main = dataclasses.replace(scene.layers[0], **fault(scene.layers[0], t, rng))
      changed = dataclasses.replace(scene, layers=(main, *scene.layers[1:]))
      clips[i, t] = synthetic.render(changed, FRAMES, SIZE)[t]
  return clips


def with_noise(source, real):
  """Noise of 4 grey levels, anew in each frame, beyond 1.3 radii of the true centre."""
  middle = (np.arange(SIZE) + 0.5) / SIZE
  centre, radius = stacked(source, 'centre'), stacked(source, 'radius')[..., None, None]
  across, down = np.square(middle - centre[..., :1]), np.square(middle - centre[..., 1:])
  beyond = across[:, :, None] + down[..., None] > np.square(1.3 * radius)
  noise = np.random.default_rng(0).normal(0, 4, real.shape)
  return np.clip(real + beyond[..., None] * noise, 0, 255).astype(np.uint8)


FAULTS = [  # the column, how many times its value on real clips it takes, others that follow
  (recoloured, 'colour', 8, ('colour_slow',)),
  (rescaled, 'scale', 4, ()),
  (swapped, 'shape', 10, ()),
  (shaken, 'jitter', 4, ('motion',)),
  (shrinking, 'scale_slow', 3, ('scale',)),
  (fading, 'colour_slow', 3, ('colour',)),
  (faster, 'motion', 1.7, ('jitter',)),
]


def same(found, wanted, name, share):
  """Whether a column is as on real clips, up to a share; of shape, a half at most, .02 beside."""
  return found[name] == pytest.approx(wanted[name], rel=share, abs=0.02 * (name == 'shape'))


@pytest.mark.parametrize(('fault', 'column', 'times', 'follow'), FAULTS)
def test_a_fault_moves_its_column(fault, column, times, follow, source, columns, of_real):
  found = columns(redrawn(source, fault))
  assert found[column] > times * of_real[column]
  for name in set(found) - {column, *follow}:
    assert same(found, of_real, name, 0.25), name


def test_noise_of_the_background_moves_no_other_column(source, real, columns, of_real):
  found = columns(with_noise(source, real))
  assert found['background'] > 10 * of_real['background']
  for name in set(found) - {'background'}:
    assert same(found, of_real, name, 0.02), name


def test_motion_is_not_mixed_with_noise_as_in_the_motion_ratio(real, columns, of_real):
  noise = np.random.default_rng(0).normal(0, 6, real.shape)
  noisy = np.clip(real + noise, 0, 255).astype(np.uint8)
  pixels = lambda clips: np.mean([temporal.motion_magnitude(clip) for clip in clips])
  assert pixels(noisy) > 1.5 * pixels(real)
  assert columns(noisy)['motion'] == pytest.approx(of_real['motion'], rel=0.03)


def test_blur_is_no_drift(real, columns, of_real):
  found = columns(ndimage.gaussian_filter(real, (0, 0, 0.8, 0.8, 0)))
  for name in set(found) - {'background'}:
    assert same(found, of_real, name, 0.15), name


def test_a_frozen_clip_drifts_nowhere_and_does_not_move(real, columns):
  frozen = columns(real[:, :1].repeat(FRAMES, axis=1))
  assert max(frozen.values()) < 1e-5


def test_motion_is_that_of_the_truth(source, of_real):
  path = stacked(source, 'centre') * SIZE
  truth = np.linalg.norm(np.diff(path, axis=1), axis=-1).mean()
  assert of_real['motion'] == pytest.approx(truth, rel=0.03)


# The background, by hand.


def test_flicker_is_in_grey_levels_and_leaves_the_object_out():
  clips = np.full((2, 4, 20, 20, 3), 50, np.uint8)
  clips[0, 1::2] += 6  # all of it, every other frame
  clips[1, 1::2, 6:14, 6:14] += 90  # what is within the radii alone
  centre, radius = np.full((2, 4, 2), 0.5), np.full((2, 4), 0.2)
  np.testing.assert_allclose(drift.flicker(clips, centre, radius), [6, 0])
  np.testing.assert_allclose(drift.flicker(clips[..., :1], centre, radius), [6, 0])


def test_flicker_leaves_out_what_passes_and_is_nan_without_a_background():
  clips = np.zeros((1, 3, 20, 20, 3), np.uint8)
  clips[0, 1, :5] = 90  # a quarter of the frame
  nothing = np.zeros((1, 3))
  np.testing.assert_array_equal(drift.flicker(clips, np.full((1, 3, 2), 0.5), nothing), 0)
  clips[0, 1, :10] = 90  # half of it: 40 of the 140 pixels that are kept a row of 20
  assert drift.flicker(clips, np.full((1, 3, 2), 0.5), nothing)[0] == pytest.approx(90 * 2 / 7)
  assert np.isnan(drift.flicker(clips, np.full((1, 3, 2), 0.5), np.ones((1, 3))))


# As scores.


def test_scores_say_what_they_are_of_and_the_real_value(real):
  scores = score.score_clips(real[:8], real[8:16], NAMES)
  assert len(NAMES) == len(drift.COLUMNS)
  for name in NAMES:
    stamp = scores[name].stamp
    assert 'probe of the synthetic source' in stamp['network']
    assert stamp['network_sha256'] == probe.network().sha256
    assert stamp['held_out_errors']['accuracy'] > 0.97 and stamp['real_value'] > 0
  assert len({scores[name].stamp['definition'] for name in NAMES}) == len(NAMES)


def test_all_columns_come_of_one_reading(real, monkeypatch):
  taken = []
  read = probe.read
  monkeypatch.setattr(probe, 'read', lambda clips: taken.append(len(clips)) or read(clips))
  score.score_clips(real[:16], real[16:], NAMES)
  assert taken == [16, 16]
