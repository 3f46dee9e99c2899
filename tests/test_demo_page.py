"""The page to play with, in headless Chromium: every control is used, a clip is seen to play."""

import importlib.util
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from input_pipeline import video_files

if not importlib.util.find_spec('gradio'):  # which takes seconds to import
  pytest.skip('the extra demo is not installed', allow_module_level=True)
sync_api = pytest.importorskip('playwright.sync_api', reason='the extra browser is not installed')

ROOT = pathlib.Path(__file__).parents[1]
_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, _NAMES)), None)
SECONDS = 120  # of a slow machine; else a few
_TIMES = "[...document.querySelectorAll('ID video')].map(one => one.currentTime)[0]"


@pytest.fixture(scope='module')
def address(finished):
  """Of the verb, which ends as it is told to and has printed no traceback."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  process = subprocess.Popen(
    [sys.executable, '-m', 'hgdt_jax.demo', f'--workdir={finished}', f'--port={port}'],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  lines, printed = queue.Queue(), []
  reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
  reader.start()
  try:
    while not (found := re.match(r'page at (\S+);', (printed or [''])[-1])):
      printed.append(lines.get(timeout=SECONDS))
    yield found[1]
  finally:
    process.send_signal(signal.SIGINT)
    process.wait(SECONDS)
    reader.join(SECONDS)
  printed += list(lines.queue)
  assert process.returncode == 130 and printed[-1].startswith('demo: stopped by SIGINT'), printed
  assert 'Traceback' not in ''.join(printed), ''.join(printed)


@pytest.fixture(scope='module')
def browser():
  if CHROMIUM is None:
    pytest.skip('no Chromium here; CHROMIUM=FILE names one')
  with sync_api.sync_playwright() as playwright:
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    yield opened
    opened.close()


@pytest.fixture
def page(address, browser):
  """The page, which raises no error and fetches nothing from elsewhere."""
  opened = browser.new_page(viewport=dict(width=1280, height=1100))
  opened.set_default_timeout(SECONDS * 1000)
  errors, fetched = [], set()
  opened.on('pageerror', lambda error: errors.append(str(error)))
  opened.on('request', lambda request: fetched.add(request.url))
  opened.goto(address)
  opened.wait_for_selector('#draw')
  # Gradio's editor sets itself up behind that, and fails on a file that comes before.
  opened.wait_for_selector('#image canvas')
  yield opened
  assert not errors
  elsewhere = [url for url in fetched if not url.startswith((address, 'data:', 'blob:'))]
  assert fetched and not elsewhere
  opened.close()


def _draw(page):
  """What the page says of it."""
  before = page.inner_text('#said')
  page.click('#draw')
  page.wait_for_function(
    "before => document.querySelector('#said').innerText.trim() !== before.trim()", arg=before
  )
  return page.inner_text('#said')


def _set(page, control, value):
  field = page.locator(f'#{control} input[type=number], #{control} input:not([type])').first
  field.fill(str(value))
  field.press('Tab')


def _seed(page, value):
  page.locator('#seed input, #seed textarea').first.fill(value)


def _choose(page, method):
  before = page.inner_text('#method_says')
  page.get_by_label(method, exact=True).check()
  page.wait_for_function(
    "before => document.querySelector('#method_says').innerText !== before", arg=before
  )


_BOTH = ('clips', 'drafts')


def _plays(page, video):
  """It begins anew too: within a second and a half a clip of half a second has been everywhere."""
  page.wait_for_function(f"(document.querySelector('#{video} video') || {{}}).readyState >= 2")
  seen = set()
  for _ in range(15):
    seen.add(page.evaluate(_TIMES.replace('ID', f'#{video}')))
    time.sleep(0.1)
  return len(seen) > 3


def test_a_hybrid_is_drawn_beside_its_draft_plays_and_is_downloaded(page, tmp_path):
  _set(page, 'tau', 0.7)
  _set(page, 'evaluations', 3)
  _set(page, 'frames', 6)
  _set(page, 'num', 2)
  _seed(page, '11')
  page.click('#label input')
  page.get_by_role('option', name='2').click()
  said = _draw(page)
  assert 'Hybrid: 2 clips, seed 11, 6 frames, tau 0.7, class 2.' in said
  assert '3 network evaluations a clip.' in said
  assert _plays(page, 'clips') and _plays(page, 'draft')
  assert page.inner_text('#heading').strip() == 'Hybrid, what became of it'
  page.screenshot(path=tmp_path / 'page.png')
  seen = np.asarray(Image.open(tmp_path / 'page.png').convert('L'))
  assert seen.std() > 10 and len(np.unique(seen)) > 50
  with page.expect_download() as download:
    page.click('#download')
  download.value.save_as(tmp_path / 'clips.zip')
  zipfile.ZipFile(tmp_path / 'clips.zip').extractall(tmp_path)
  found = [video_files.read(tmp_path / f'{name}/clip_0001.mp4', range(6)) for name in _BOTH]
  assert found[0].shape == (6, 16, 16, 3) and (found[0] != found[1]).any()


def test_controls_that_mean_nothing_for_a_method_are_off(page):
  tau, evaluations = (page.locator(f'#{one} input[type=range]') for one in ('tau', 'evaluations'))
  assert tau.is_enabled() and evaluations.is_enabled()
  _choose(page, 'GAN')
  sync_api.expect(tau).to_be_disabled()
  sync_api.expect(evaluations).to_be_disabled()
  assert 'Ignored here: tau and evaluations.' in page.inner_text('#method_says')
  assert 'GAN: 4 clips' in _draw(page) and not page.is_visible('#draft')
  assert _plays(page, 'clips')
  _choose(page, 'Diffusion, per frame')
  sync_api.expect(evaluations).to_be_enabled()
  sync_api.expect(page.locator('#image')).not_to_be_visible()
  assert 'takes no first image' in page.inner_text('#no_image')


def test_an_image_is_uploaded_and_continued(page, tmp_path):
  Image.new('RGB', (64, 64), (200, 30, 30)).save(tmp_path / 'image.png')
  _choose(page, 'Diffusion, video')
  page.locator('#image input[type=file]').first.set_input_files(tmp_path / 'image.png')
  page.wait_for_timeout(1500)
  assert 'continues the first image' in _draw(page)


def test_a_drawing_is_continued(page):
  _choose(page, 'Diffusion, video')
  page.click('#image button[title=Brush]')
  canvas = page.locator('#image canvas').first
  canvas.scroll_into_view_if_needed()
  page.wait_for_timeout(1000)
  box = canvas.bounding_box()
  page.mouse.move(box['x'] + box['width'] * 0.3, box['y'] + box['height'] * 0.4)
  page.mouse.down()
  page.mouse.move(box['x'] + box['width'] * 0.7, box['y'] + box['height'] * 0.6, steps=8)
  page.mouse.up()
  page.wait_for_timeout(500)
  assert 'continues the first image' in _draw(page)


@pytest.mark.parametrize(
  ('seed', 'says'),
  [('letters', 'Seed: letters is not a whole number'), ('9' * 400, 'Seed: 9999'), ('', 'nothing')],
)
def test_what_means_nothing_is_told_in_the_page_which_goes_on(page, seed, says):
  _seed(page, seed)
  said = _draw(page)
  assert said.startswith('Nothing was drawn. Seed: ') and says in said
  _seed(page, '5')
  assert 'seed 5' in _draw(page)


def test_a_file_that_is_no_image_is_told(page, tmp_path):
  (tmp_path / 'image.png').write_bytes(b'not an image')
  page.locator('#image input[type=file]').first.set_input_files(tmp_path / 'image.png')
  page.wait_for_selector('#bad_image')
  assert page.inner_text('#bad_image') == 'First image: that file is not an image.'
  said = _draw(page)
  assert 'Hybrid: 4 clips' in said and 'continues' not in said


def test_a_slider_keeps_to_its_range(page):
  _set(page, 'tau', 7)
  assert page.input_value('#tau input[type=number]') == '1'
  assert 'tau 1.' in _draw(page)


def test_a_port_that_is_taken_is_told_in_a_line(address, finished):
  port = address.strip('/').rpartition(':')[2]
  done = subprocess.run(
    [sys.executable, '-m', 'hgdt_jax.demo', f'--workdir={finished}', f'--port={port}'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
  assert f'demo: cannot listen at --host=127.0.0.1 --port={port}' in done.stderr


def test_a_browser_that_leaves_while_it_sends_a_file_is_no_error(address):
  """No traceback is printed of it: `address` looks at its end."""
  host, port = re.fullmatch(r'http://(.+):(\d+)/', address).groups()
  head = (
    f'POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 10000\r\n'
    'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n'
  )
  with socket.create_connection((host, int(port))) as sent:
    sent.sendall(head.encode())
    time.sleep(0.5)  # it is read by now
  assert urllib.request.urlopen(address).status == 200
