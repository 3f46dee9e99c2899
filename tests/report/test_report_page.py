"""The page: whole, self-contained, and there even when half of the run is missing."""

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hgdt_jax import report
from hgdt_jax.methods import METHODS
from hgdt_jax.report import contents, meanings, page, sheets
from hgdt_jax.sampling import folders

SECTIONS = (
  'Samples',
  'Seed by seed',
  'Scores',
  'Score against tau',
  'Score against network evaluations',
  'Training',
  'As it was run',
)
VOID = {'meta', 'img', 'br', 'link', 'input'}


class Page(html.parser.HTMLParser):
  """Tags with their attributes, headings, and whether every tag is closed in order."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.open, self.headings, self.balanced = [], [], [], True
    self.text = ''
    self.feed(text)
    self.balanced = self.balanced and not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] in ('h1', 'h2'):
      self.headings.append(data)
    if self.open and self.open[-1] not in ('style', 'script'):
      self.text += f'{data} '

  def named(self, tag):
    return [attrs for name, attrs in self.tags if name == tag]


def built(workdir):
  return Page(report.build(workdir).read_text(encoding='utf-8'))


def pixels(data_uri):
  kind, data = data_uri.split(',', 1)
  assert kind == 'data:image/png;base64'
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert('RGBA'))


def test_a_finished_run_has_every_section(workdir):
  path = report.build(workdir)
  assert path == workdir / 'report' / 'index.html'
  found = Page(path.read_text(encoding='utf-8'))
  assert found.headings == ['my_run', *SECTIONS]
  assert found.balanced
  assert [p.name for p in path.parent.iterdir()] == ['index.html']


def test_the_head_says_what_was_run(workdir):
  text = built(workdir).text
  expected = [
    'synthetic',
    '3 frames of 16 × 16',
    'gan 20, diffusion 20',
    'tau 0.3',
    'bfloat16',
    '17',
  ]
  expected += ['4 x TPU v9', '10 min', 'jax 9.8.7', 'truncated: 75% on [0, tau]']
  for fact in expected:
    assert fact in text, fact
  assert 'Hybrid with 17.8 at 5 network evaluations. Its clips move 0.97 times' in text


def test_nothing_is_fetched(workdir):
  text = report.build(workdir).read_text(encoding='utf-8')
  found = Page(text)
  for tag, attrs in found.tags:
    for name in ('src', 'srcset', 'poster', 'data', 'action'):
      assert attrs.get(name, 'data:').startswith('data:'), (tag, attrs)
    assert not attrs.get('href', '#').startswith(('http', '//')), (tag, attrs)
  assert not found.named('link')
  addresses = set(re.findall(r'https?://[^"\'<> ]+', text))
  assert addresses <= {'http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'}
  assert "default-src 'none'" in text  # a browser holds us to it


def figures(text):
  """The figures of the clips of a seed, by its number."""
  return {
    int(number): Page(figure)
    for figure, number in re.findall(r'(<figure data-seed="(\d+)">.*?</figure>)', text, re.DOTALL)
  }


def test_a_figure_holds_the_frames_of_the_same_seed_of_every_method(workdir, drawn):
  text = report.build(workdir).read_text(encoding='utf-8')
  found = figures(text)
  assert list(found) == [0, 1]
  for seed, figure in found.items():
    images = figure.named('img')
    assert len(images) == len(drawn)
    for image, (method, clips) in zip(images, drawn.items()):  # in the order of the methods
      sheet = pixels(image['src'])
      assert (image['data-frames'], image['data-width'], image['data-height']) == ('3', '16', '16')
      assert sheet.shape == (16, 3 * 16 + 2, 4)
      for time, frame in enumerate(clips[seed]):
        cell = sheet[:, 17 * time : 17 * time + 16]
        np.testing.assert_array_equal(cell[..., :3], frame)
        assert (cell[..., 3] == 255).all()
      assert (sheet[:, [16, 33], 3] == 0).all()
      assert image['alt'].endswith('a held-out clip' if method == 'real' else f', seed {seed}')


def test_a_large_clip_has_wider_gutters():
  clip = np.full((2, 4, 64, 3), 7, np.uint8)
  sheet = sheets.of_clip(meanings.row('gan'), clip)
  alpha = np.asarray(Image.open(io.BytesIO(sheet.png)))[..., 3]
  assert sheet.gutter == 2 and alpha.shape == (4, 2 * 64 + 2)
  assert (alpha[:, 64:66] == 0).all() and (np.delete(alpha, [64, 65], 1) == 255).all()


def test_a_long_clip_has_its_frames_in_rows():
  clip = np.random.default_rng(0).integers(0, 256, (35, 4, 6, 3), dtype=np.uint8)
  sheet = sheets.of_clip(meanings.row('gan'), clip)
  image = np.asarray(Image.open(io.BytesIO(sheet.png)))
  assert (sheet.frames, sheet.height, sheet.width) == (35, 4, 6)
  assert image.shape == (3 * 5 - 1, 16 * 7 - 1, 4)
  for time in (0, 15, 16, 34):
    y, x = 5 * (time // 16), 7 * (time % 16)
    np.testing.assert_array_equal(image[y : y + 4, x : x + 6, :3], clip[time])


def test_a_clip_that_is_missing_or_damaged_is_left_out_of_its_seed_alone(workdir):
  (workdir / 'samples/gan/clips/clip_0000.mp4').unlink()
  (workdir / 'samples/hybrid/clips/clip_0001.mp4').write_bytes(b'no clip')
  (workdir / 'samples/hybrid/clips/clip_notes.txt').write_text('of somebody else')
  found = figures(report.build(workdir).read_text(encoding='utf-8'))
  names = {seed: [i['alt'].split(', ')[0] for i in f.named('img')] for seed, f in found.items()}
  assert [len(each) for each in names.values()] == [4, 4]
  assert 'GAN' not in names[0] and 'Hybrid' not in names[1]


def test_clips_play_at_the_rate_of_the_run(workdir):
  films = lambda: next(a for a in built(workdir).named('div') if a.get('class') == 'films')
  assert films()['data-rate'] == '8.0'
  document = json.loads((workdir / 'config.json').read_text())
  document['config']['data']['fps'] = 12.5
  (workdir / 'config.json').write_text(json.dumps(document))
  assert films()['data-rate'] == '12.5'


def test_a_page_of_large_clips_keeps_within_its_bound_and_says_what_is_left_out(
  workdir, monkeypatch
):
  assert page.MOST_BYTES == 15_000_000
  bound = report.build(workdir).stat().st_size - 1
  monkeypatch.setattr(page, 'MOST_BYTES', bound)
  monkeypatch.setattr(page, '_TAG_BYTES', 1000)
  path = report.build(workdir)
  text = path.read_text(encoding='utf-8')
  assert path.stat().st_size <= bound
  assert list(figures(text)) == [0]
  assert '1 of 2 seeds are on this page; all are in samples/METHOD/clips.' in text
  monkeypatch.setattr(page, 'MOST_BYTES', 1000)
  found = built(workdir)
  assert '0 of 2 seeds are on this page' in found.text and found.balanced
  monkeypatch.setattr(page, '_GRID_BYTES', 10)
  text = report.build(workdir).read_text(encoding='utf-8')
  assert '<video' not in text and 'samples/gan/grid.mp4, samples/diff' in text


def test_every_method_plays(workdir):
  videos = built(workdir).named('video')
  assert len(videos) == 5
  assert all({'autoplay', 'loop', 'muted', 'playsinline'} <= set(video) for video in videos)
  gan = base64.b64decode(videos[1]['src'].split(',', 1)[1])
  assert gan == (workdir / 'samples/gan/grid.mp4').read_bytes()


def test_the_gif_stands_in_for_the_mp4(workdir):
  (workdir / 'samples/gan/grid.mp4').unlink()
  found = built(workdir)
  assert len(found.named('video')) == 4
  assert sum(img['src'].startswith('data:image/gif') for img in found.named('img')) == 1


def test_the_best_is_marked_and_motion_stands_before_consistency(workdir):
  text = report.build(workdir).read_text(encoding='utf-8')
  table = re.search(r'<thead>.*?</tbody>', text, re.DOTALL).group()
  heads = [re.sub('(?s)<.*?>', '', cell).replace('&nbsp;', ' ')
           for cell in re.findall(r'(?s)<th scope="col".*?</th>', table)]  # fmt: skip
  assert heads == [
    'Method', 'network evaluations', 'seconds per clip', 'Fréchet, random 3D conv ↓',
    'motion ratio → 1', 'warping error ↓', 'temporal flickering ↑',
  ]  # fmt: skip
  assert re.findall(r'class="best"><span>([^<]*)', table) == ['17.8', '0.97', '0.018', '0.971']
  assert 'clips 64, split test' in table  # the protocol is the tooltip of a metric


@pytest.mark.parametrize(
  ('part', 'gone'),
  [
    ('config.json', ()),
    ('metrics.jsonl', ('Training',)),
    ('results.json', ('Scores', 'Score against tau', 'Score against network evaluations')),
    ('samples', ('Samples', 'Seed by seed')),
    ('samples/hybrid', ()),
    ('samples/gan/clips', ()),
    ('samples/gan/clips/clip_0001.mp4', ()),
  ],
)
def test_a_missing_part_is_left_out(workdir, part, gone):
  path = workdir / part
  shutil.rmtree(path) if path.is_dir() else path.unlink()
  found = built(workdir)
  assert found.headings == ['my_run', *(s for s in SECTIONS if s not in gone)]
  assert found.balanced


def test_a_directory_with_nothing_in_it_has_a_page(tmp_path):
  found = built(tmp_path)
  assert found.headings == [tmp_path.name]
  assert 'Nothing has been trained here yet.' in found.text


def test_a_run_stopped_early_says_so(workdir):
  (workdir / 'results.json').unlink()
  rows = (workdir / 'metrics.jsonl').read_text().splitlines()
  (workdir / 'metrics.jsonl').write_text('\n'.join(rows[:12]) + '\n')
  text = built(workdir).text
  assert 'gan is at step 12 of 20.' in text
  assert 'Not begun yet: diffusion.' in text


def test_results_without_values_are_shown_as_missing(workdir, results):
  first = results['results'][0]
  first['metrics'] = {'motion_ratio': None, 'psnr': float('nan')}
  del first['protocol'], first['seconds_per_clip']
  results['results'].append({'method': 'mine'})
  del results['curves']
  (workdir / 'results.json').write_text(json.dumps(results))
  found = built(workdir)
  assert 'mine' in found.text and found.balanced
  assert 'Score against tau' not in found.headings


def test_the_test_of_drafts_shows_its_bound_where_it_has_one(workdir, results):
  row = {'tau': 0.3, 'method': 'gan', 'statistic': 0.0123, 'p_value': 0.25}
  later = row | {'method': 'hybrid', 'upper': 0.04567}
  results['curves']['truncation'] = [row, later]
  (workdir / 'results.json').write_text(json.dumps(results))
  found = built(workdir)
  assert 'Is the draft right down to tau?' in found.headings and found.balanced
  assert '0.0123 (p 0.250)' in found.text and '0.0123 ≤ 0.0457 (p 0.250)' in found.text


def test_every_method_has_a_row(workdir, results):
  row = results['results'][0]
  results['results'] = [row | {'method': name} for name in METHODS]
  (workdir / 'results.json').write_text(json.dumps(results))
  text = report.build(workdir).read_text(encoding='utf-8')
  table = re.search(r'<thead>.*?</tbody>', text, re.DOTALL).group()
  for name, method in METHODS.items():
    assert f'<span class="dot" style="background:var(--{name})"></span>{method.label}</th>' in table


def test_text_from_the_workdir_cannot_become_markup(workdir, results):
  evil = '<img src=x onerror="alert(1)">\'"&$_{$</script><script>alert(2)</script></pre>'
  folder = evil.replace('/', '|')
  (workdir / 'samples' / 'gan').rename(workdir / 'samples' / folder)
  result = results['results'][0]
  result['method'] = evil
  result['metrics'][evil] = 1.0
  result['protocol'][evil] = {evil: evil}
  results['environment'] = {'device': evil, 'versions': {evil: evil}, evil: evil}
  for point in results['curves']['tau']:
    point['metrics'][evil] = 2.0
  results['curves']['network_evaluations'][0] |= {'method': evil, 'metrics': {evil: 1.0}}
  (workdir / 'results.json').write_text(json.dumps(results))
  config = {'stages': [evil], 'data': {'source': evil}, 'dtype': evil, evil: evil}
  (workdir / 'config.json').write_text(json.dumps(config))
  row = {'stage': evil, 'step': 1, f'{evil}/{evil}': 1.0, evil: evil}
  with (workdir / 'metrics.jsonl').open('a') as file:
    file.write(json.dumps(row) + '\n')
  renamed = workdir.rename(workdir.with_name(folder))
  found = built(renamed)
  assert found.balanced
  assert len(found.named('script')) == 1
  assert not [attrs for _, attrs in found.tags if 'onerror' in attrs]
  assert all(img['src'].startswith('data:') for img in found.named('img'))
  assert folder in [video['aria-label'] for video in found.named('video')]
  assert any(evil in head.get('title', '') for head in found.named('th'))
  assert evil in found.text


def test_the_rows_written_again_after_a_resume_count(workdir):
  again = {'stage': 'gan', 'step': 20, 'gan/loss': 0.125}
  with (workdir / 'metrics.jsonl').open('a') as file:
    file.write(json.dumps(again) + '\n')
  rows = contents.read(workdir).rows['gan']
  assert len(rows) == 20 and rows[-1]['gan/loss'] == 0.125


def test_the_page_is_the_same_each_time(workdir):
  first = report.build(workdir).read_bytes()
  assert report.build(workdir).read_bytes() == first


def test_a_flat_config_is_read_too(workdir):
  document = json.loads((workdir / 'config.json').read_text())
  flat = document['config'] | {'versions': document['versions']}
  (workdir / 'config.json').write_text(json.dumps(flat))
  text = built(workdir).text
  assert 'jax 9.8.7' in text and 'tau 0.3' in text


def test_errors_name_the_file(workdir, tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere: no such directory'):
    report.build(tmp_path / 'nowhere')
  (workdir / 'results.json').write_text('{"results": [')
  with pytest.raises(ValueError, match=r'results\.json: not valid JSON'):
    report.build(workdir)
  (workdir / 'results.json').write_text('[]')
  with pytest.raises(ValueError, match=r'results\.json: holds a list'):
    report.build(workdir)


def test_the_report_needs_no_jax():
  code = 'import hgdt_jax.report, sys; sys.exit("jax" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_seeds_shown_are_limited(workdir):
  many = np.zeros((page._SEEDS_SHOWN + 3, 2, 16, 16, 3), np.uint8)
  folders.write_samples(many, workdir / 'samples' / 'gan')
  text = report.build(workdir).read_text(encoding='utf-8')
  assert list(figures(text)) == list(range(page._SEEDS_SHOWN))
  assert f'{page._SEEDS_SHOWN} of {len(many)} seeds' in text
