"""Curves, pictures, and what is marked best."""

import io
import itertools
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

from hgdt_jax.metrics import table
from hgdt_jax.report import contents, meanings, pictures, plots, scores, style


def svg_of(values, name='loss'):
  values = np.asarray(values, float)
  return plots.svg(plots.loss_curve(name, np.arange(1, len(values) + 1), values), name)


def test_an_svg_takes_colours_and_font_from_the_page():
  text = svg_of([3.0, 2.0, 1.0])
  xml.etree.ElementTree.fromstring(text)  # well formed
  assert not [value for value in plots.COLOURS.values() if value in text]
  assert 'var(--smooth)' in text and 'var(--raw)' in text
  assert 'DejaVu' not in text and '<style' not in text
  opening = text[: text.index('>')]
  assert 'viewBox' in opening and ' width=' not in opening


def test_both_schemes_define_every_colour():
  light, dark = style.css().split('@media(prefers-color-scheme:dark)')
  for role in plots.COLOURS:
    assert f'--{role}:' in light and f'--{role}:' in dark.split('}')[0]
  assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)  # or two roles swap in an SVG


@pytest.mark.parametrize('values', [[1.0], [2.0, 2.0], [0.0] * 5, [-1.0, 5.0], [np.nan] * 3])
def test_any_curve_can_be_drawn(values):
  xml.etree.ElementTree.fromstring(svg_of(values))


def test_values_that_are_not_finite_are_named():
  assert 'not finite from step 3' in svg_of([1.0, 2.0, np.nan, np.inf])
  assert 'not finite at 2' in svg_of([1.0, np.nan, 2.0, 1.0])
  assert 'not finite' not in svg_of([1.0, 2.0])


def test_a_long_run_makes_no_heavy_page():
  assert len(svg_of(np.random.default_rng(0).normal(size=50_000))) < 120_000


def test_a_name_with_a_dollar_sign_is_not_mathematics():
  assert '$\\frac$' in svg_of([1.0, 2.0], name='$\\frac$')


def test_smoothing_is_neither_late_nor_biased():
  line = np.linspace(5, 1, 200)
  np.testing.assert_allclose(plots._smoothed(line)[20:-20], line[20:-20], atol=1e-9)
  np.testing.assert_allclose(plots._smoothed(np.full(37, 4.0)), 4.0)
  noise = np.random.default_rng(0).normal(size=400)
  assert plots._smoothed(noise).std() < 0.3 * noise.std()


def test_buckets_keep_extremes():
  values = np.zeros(10_001)
  values[[7_777, 9_999]] = 50, -50
  steps, low, mean, high = plots._buckets(np.arange(10_001), values)
  assert high.max() == 50 and low.min() == -50 and np.all((low <= mean) & (mean <= high))
  assert np.all(np.diff(steps) > 0) and len(steps) == plots._MOST_POINTS


def result(method, **metrics):
  return {'method': method, 'network_evaluations': 4, 'metrics': metrics}


@pytest.mark.parametrize(
  ('metric', 'values', 'best'),
  [
    ('fvd', [3.0, 1.0, 2.0], [1]),
    ('psnr', [3.0, 1.0, 2.0], [0]),
    ('motion_ratio', [0.5, 1.9, 1.2], [2]),
    ('motion_ratio', [0.9, 1.2, 0.0], [0]),
    ('fvd', [1.0, 1.0, 2.0], [0, 1]),
    ('fvd', [None, float('nan'), 2.0], []),  # one alone beats nobody
    ('unheard_of', [3.0, 1.0, 2.0], []),  # nobody knows which way is up
  ],
)
def test_best(metric, values, best):
  results = [result(m, **{metric: v}) for m, v in zip(('gan', 'diffusion', 'hybrid'), values)]
  assert scores.best(results, meanings.metric(metric)) == best


def test_real_clips_and_those_given_a_part_of_one_are_never_best():
  given = [result('real', fvd=0.1), result('hybrid_first_frame', fvd=0.2)]
  results = [*given, result('gan', fvd=3.0), result('hybrid', fvd=2.0)]
  assert scores.best(results, meanings.metric('fvd')) == [3]


def test_a_frozen_clip_is_not_best_by_consistency():
  results = [
    result('gan', motion_ratio=0.1, warping_error=0.0, fvd=1.0),
    result('diffusion', motion_ratio=1.2, warping_error=0.3, fvd=2.0),
    result('hybrid', motion_ratio=0.9, warping_error=0.2, fvd=3.0),
  ]
  assert scores.best(results, meanings.metric('warping_error')) == [2]
  assert scores.best(results, meanings.metric('fvd')) == [0]


def test_every_metric_of_the_library_has_its_meaning_and_direction():
  words = {'near 1': 'one', 'near real': '', 'neither': ''}
  for name, made in table.METRICS.items():
    shown = meanings.metric(name)
    assert shown.meaning, f'{name}: no meaning in hgdt_jax/report/meanings.py'
    assert shown.better == words.get(made.better, made.better), name


def test_motion_stands_right_before_the_consistency_scores():
  names = [metric.name for metric in meanings.METRICS]
  assert len(set(names)) == len(names)
  first = min(i for i, metric in enumerate(meanings.METRICS) if metric.consistency)
  assert names[first - 1] == 'motion_ratio'
  shown = meanings.ordered_metrics({'zeta', 'warping_error', 'motion_ratio', 'alpha'})
  assert [m.name for m in shown] == ['motion_ratio', 'warping_error', 'alpha', 'zeta']


def test_tau_panels_have_the_plain_methods_as_levels(workdir):
  panels = scores.tau_panels(contents.read(workdir))
  assert [p.metric.name for p in panels] == ['motion_ratio', 'warping_error']
  assert panels[0].series == {'hybrid': [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]}
  assert panels[0].levels == {'gan': 1.1, 'diffusion': 1.62}


def test_cost_panels_add_methods_without_a_curve_as_points(workdir):
  panel = scores.cost_panels(contents.read(workdir))[0]
  assert panel.series['gan'] == [(1.0, 20.3)]
  assert panel.series['hybrid'] == [(2.0, 24.0), (4.0, 22.0), (8.0, 21.0)]


def test_a_strip_without_a_layout_is_shown_whole(tmp_path):
  Image.new('RGB', (30, 20), 'red').save(tmp_path / 'strip.png')
  (whole,) = pictures.cut(tmp_path / 'strip.png')
  assert whole.size == (30, 20) and whole.getpixel((29, 19)) == (255, 0, 0, 255)


def test_pictures_for_a_readme(workdir):
  for picture in (pictures.comparison, pictures.training_curves, pictures.score_curves):
    image = Image.open(io.BytesIO(picture(workdir)))
    assert image.format == 'PNG' and np.asarray(image.convert('L')).std() > 5


def test_comparison_has_a_row_per_method_and_clips_side_by_side(workdir):
  image = np.asarray(Image.open(io.BytesIO(pictures.comparison(workdir, clips=2))))
  strip = np.asarray(Image.open(workdir / 'samples/hybrid/strip.png'))
  first, second = strip[:64, :64], strip[66:130, :64]
  places = [np.lib.stride_tricks.sliding_window_view(image, (64, 1, 3))[:, :, 0, :, 0]]
  rows = [
    np.argwhere((places[0] == clip[None, None, :, 0]).all((2, 3))) for clip in (first, second)
  ]
  (y1, x1), (y2, x2) = rows[0][0], rows[1][0]
  assert y1 == y2 and y1 > image.shape[0] * 0.7  # the hybrid is the last row
  assert x2 - x1 == strip.shape[1] + 12


def test_clips_play_below_the_label_of_their_method(workdir):
  strips = pictures.strips(contents.read(workdir).samples)
  columns = [(name, '#000000', strips[name]) for name in ('gan', 'hybrid')]
  played = pictures.beside_each_other(columns, clips=2)
  strip = np.asarray(Image.open(workdir / 'samples/hybrid/strip.png'))
  times = (strip.shape[1] + 2) // 66
  assert played.shape == (times, 24 + 2 * 128 + 6, 2 * 128 + 6, 3)
  for time, clip in itertools.product(range(times), (0, 1)):  # of the hybrid, the second column
    seen = played[time, 24 + clip * 134 :, 134:][:128:2, ::2]
    np.testing.assert_array_equal(seen, strip[clip * 66 :, time * 66 :][:64, :64])
  assert played[0, :24, :128].min() < 100 and played[0, :24, 134:].min() < 100  # the labels


def test_the_moving_picture_is_a_gif_of_all_frames(workdir, tmp_path):
  pictures.write_moving(workdir, tmp_path / 'moving.gif', methods=('gan', 'hybrid'), clips=2)
  strip = Image.open(workdir / 'samples/hybrid/strip.png')
  with Image.open(tmp_path / 'moving.gif') as moving:
    assert moving.format == 'GIF' and moving.n_frames == (strip.width + 2) // 66
    assert moving.size == (2 * 128 + 6, 24 + 2 * 128 + 6)


def test_a_moving_picture_of_a_method_without_samples_is_refused(workdir, tmp_path):
  with pytest.raises(FileNotFoundError, match='samples/nope: no strip'):
    pictures.write_moving(workdir, tmp_path / 'moving.gif', methods=('hybrid', 'nope'))


@pytest.mark.parametrize(
  ('picture', 'message'),
  [
    (pictures.comparison, 'no strip.png'),
    (pictures.training_curves, 'holds no values'),
    (pictures.score_curves, 'holds no curves'),
  ],
)
def test_pictures_of_nothing_say_what_to_do(tmp_path, picture, message):
  with pytest.raises(FileNotFoundError, match=message):
    picture(tmp_path)
