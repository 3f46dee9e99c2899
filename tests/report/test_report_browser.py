"""The page as a browser shows it: headless Chromium, driven by its DevTools protocol."""

import base64
import io
import itertools
import json
import os
import select
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from hgdt_jax import report
from hgdt_jax.sampling import folders

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(
  CHROMIUM is None, reason='no Chromium here; CHROMIUM=FILE names one'
)
CONTROL = 2  # as the protocol numbers modifiers of keys
SECONDS = 90  # of a slow machine; else a few
FRAMES, SEEDS = 5, 3
LABELS = {'real': 'Real', 'gan': 'GAN', 'hybrid': 'Hybrid'}
METHODS = tuple(LABELS)
SHAPES = {'real': (FRAMES, 12, 20), 'gan': (FRAMES, 12, 70), 'hybrid': (FRAMES - 2, 9, 7)}
ERRORS = ('Runtime.exceptionThrown', 'Log.entryAdded', 'Runtime.consoleAPICalled')


class Tab:
  """A page in a headless Chromium; `wrong` holds what its console and its log tell."""

  def __init__(self, profile):
    options = ['--headless=new', '--no-sandbox', '--disable-gpu', f'--user-data-dir={profile}']
    (self._read, its_write), (its_read, self._write) = os.pipe(), os.pipe()
    pipe = f'exec "$0" "$@" 3<&{its_read} 4>&{its_write}'  # where --remote-debugging-pipe looks
    self._process = subprocess.Popen(
      ['bash', '-c', pipe, CHROMIUM, '--remote-debugging-pipe', *options],
      pass_fds=(its_read, its_write),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    os.close(its_read)
    os.close(its_write)
    self._numbers, self._buffer, self._about = itertools.count(), b'', {}
    self.wrong, self._loaded = [], False
    target = self('Target.createTarget', url='about:blank')['targetId']
    self._about = self('Target.attachToTarget', targetId=target, flatten=True)
    for domain in ('Page', 'Runtime', 'Log'):
      self(f'{domain}.enable')

  def __call__(self, method, **params):
    """What a command of the protocol gives."""
    number, session = next(self._numbers), self._about
    message = {'id': number, 'method': method, 'params': params, **session}
    os.write(self._write, json.dumps(message).encode() + b'\0')
    while (answer := self._next()).get('id') != number:
      pass
    assert 'error' not in answer, (method, answer)
    return answer['result']

  def _next(self):
    while b'\0' not in self._buffer:
      assert select.select([self._read], [], [], SECONDS)[0], 'the browser does not answer'
      data = os.read(self._read, 1 << 20)
      assert data, 'the browser has gone'
      self._buffer += data
    data, self._buffer = self._buffer.split(b'\0', 1)
    message = json.loads(data)
    if message.get('method') in ERRORS:
      self.wrong.append(message['params'])
    self._loaded = self._loaded or message.get('method') == 'Page.loadEventFired'
    return message

  def open(self, path, width=1200, scripts=True, **media):
    """Opens a file at a width, with media features such as prefers_color_scheme."""
    size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    self('Emulation.setDeviceMetricsOverride', **size)
    self('Emulation.setTouchEmulationEnabled', enabled=width < 600)
    features = [{'name': name.replace('_', '-'), 'value': value} for name, value in media.items()]
    self('Emulation.setEmulatedMedia', features=features)
    self('Emulation.setScriptExecutionDisabled', value=not scripts)
    self._loaded = False
    self('Page.navigate', url=path.as_uri())
    while not self._loaded:
      self._next()
    self.value(HELPERS)
    if scripts:
      self.value('until(() => drawn().length)')

  def value(self, expression):
    """What an expression gives, or the promise that it is."""
    asked = dict(expression=expression, awaitPromise=True, returnByValue=True)
    answer = self('Runtime.evaluate', **asked)
    assert 'exceptionDetails' not in answer, answer
    return answer['result'].get('value')

  def press(self, key, modifiers=0):
    """One of the named keys, or a space."""
    code = {' ': 32, 'Tab': 9, 'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40}
    about = dict(
      key=key, code=key.strip() or 'Space', windowsVirtualKeyCode=code[key], modifiers=modifiers
    )
    text = {'text': ' '} if key == ' ' else {}
    self('Input.dispatchKeyEvent', type='keyDown', **about, **text)
    self('Input.dispatchKeyEvent', type='keyUp', **about)

  def shown(self):
    """By method, what its canvas shows: uint8 `[H, W, 4]`."""
    told = self.value('settled().then(() => drawn().map(contents))')
    return {name: np.array(data, np.uint8).reshape(*size, 4) for name, size, data in told}

  def screenshot(self):
    """uint8 `[H, W, 3]`."""
    data = base64.b64decode(self('Page.captureScreenshot')['data'])
    return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))

  def close(self):
    self._process.terminate()
    self._process.wait()
    os.close(self._read)
    os.close(self._write)


HELPERS = """
globalThis.until = async holds => { while (!holds()) await new Promise(r => setTimeout(r, 20)); };
globalThis.drawn = () => [...document.querySelectorAll('#players canvas')];
globalThis.settled = async () => {  // what a choice of a seed has to decode, and what it draws then
  await Promise.all([...document.images].map(image => image.decode()));
  await new Promise(done => setTimeout(done, 30));
};
globalThis.contents = canvas => {
  const {width, height} = canvas, copy = new OffscreenCanvas(width, height);
  const context = copy.getContext('2d', {willReadFrequently: true});  // else Chromium warns
  context.drawImage(canvas, 0, 0);
  const name = canvas.parentNode.querySelector('b').innerText.trim();
  return [name, [height, width], [...context.getImageData(0, 0, width, height).data]];
};
for (const name of ['picker', 'play', 'pause']) globalThis[name] = document.getElementById(name);
globalThis.slider = document.getElementById('time');
globalThis.counter = document.querySelector('output');
globalThis.radios = () => [...document.querySelectorAll('#seeds input')];
globalThis.at = () => Number(slider.value);
globalThis.slide = frame => { slider.value = frame; slider.dispatchEvent(new Event('input')); };
"""


FOCUS = """(() => {
  const one = document.activeElement, ring = one.type === 'radio' ? one.nextSibling : one;
  return [one.id || one.name, getComputedStyle(ring).outlineStyle !== 'none'];
})()"""
CONTRASTS = """(() => {  // of each text with what is behind it, as WCAG 2 counts it
  const levels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = levels(colour).slice(0, 3).map(level => level / 255).map(
      level => level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const colour = getComputedStyle(element).backgroundColor;
    return levels(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  const isText = node => node.nodeType === Node.TEXT_NODE && node.data.trim();
  return [...document.querySelectorAll('body *:not(script)')]
    .filter(element => [...element.childNodes].some(isText) && element.offsetHeight)
    .map(element => {
      const both = [light(getComputedStyle(element).color), light(behind(element))];
      return [element.innerText, (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)];
    });
})()"""


def clip_of(method, seed):
  """Noise: no frame of it passes for another."""
  rng = np.random.default_rng([METHODS.index(method), seed])
  frames, height, width = SHAPES[method]
  return rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A page of three methods; the hybrid lacks the last seed."""
  workdir = tmp_path_factory.mktemp('run')
  for method in METHODS:
    clips = np.stack([clip_of(method, seed) for seed in range(SEEDS)])
    folders.write_samples(clips, workdir / 'samples' / method)
  (workdir / f'samples/hybrid/clips/clip_{SEEDS - 1:04d}.mp4').unlink()
  return report.build(workdir)


@pytest.fixture(scope='module')
def tab(tmp_path_factory):
  found = Tab(tmp_path_factory.mktemp('profile'))
  yield found
  found.close()


@pytest.fixture
def still(tab, path):
  """The page with nothing moving, as for those who ask for that; the picker has the focus."""
  tab.wrong.clear()
  tab.open(path, prefers_reduced_motion='reduce')
  tab.value('picker.focus()')
  yield tab
  assert not tab.wrong


def expect(tab, seed, frame, methods=METHODS):
  """The canvases hold the pixels of the clips of a seed at a frame."""
  shown = tab.shown()
  assert list(shown) == [LABELS[method] for method in methods]
  for method in methods:
    clip = clip_of(method, seed)
    pixels = shown[LABELS[method]]
    np.testing.assert_array_equal(pixels[..., :3], clip[min(frame, len(clip) - 1)])
    assert (pixels[..., 3] == 255).all()
  assert tab.value('counter.value') == f'frame {frame + 1} of {FRAMES}'


def test_canvases_show_the_pixels_of_the_clips_at_every_frame(still):
  for frame in range(FRAMES):
    still.value(f'slide({frame})')
    expect(still, 0, frame)


def test_the_picker_changes_the_clips_and_the_strips(still):
  still.value('radios()[1].click()')
  expect(still, 1, 0)
  visible = "[...document.querySelectorAll('figure[data-seed]')].filter(f => f.offsetHeight)"
  assert still.value(f'{visible}.map(f => f.dataset.seed)') == ['1']
  still.value('radios()[2].click()')
  expect(still, 2, 0, methods=('real', 'gan'))  # the hybrid has none of it


def test_the_real_clip_says_that_it_has_no_seed(still):
  said = still.value("[...document.querySelectorAll('.player p')].map(p => p.innerText)")
  assert said == ['a held-out clip: no seed', 'seed 0', 'seed 0']


def test_the_pixels_are_enlarged_without_blur(still):
  """On the screen, a pixel of a clip is a block of one colour."""
  still.value("drawn()[0].scrollIntoView({block: 'center'})")
  box = still.value('(({x, y, width}) => [x, y, width])(drawn()[0].getBoundingClientRect())')
  picture, clip = still.screenshot(), clip_of('real', 0)[0]
  scale = box[2] / clip.shape[1]
  rows, columns = (np.arange(size) for size in clip.shape[:2])
  y = (box[1] + scale * (rows + 0.5)).astype(int)
  x = (box[0] + scale * (columns + 0.5)).astype(int)
  for nearby in (-1, 0, 1):
    inner = np.s_[1:-1, 1:-1]  # corners are round
    np.testing.assert_array_equal(picture[np.ix_(y + nearby, x + nearby)][inner], clip[inner])


def test_arrows_step_and_choose(still):
  top = still.value('scrollY')
  for key, seed, frame in (
    ('ArrowRight', 0, 1),
    ('ArrowRight', 0, 2),
    ('ArrowDown', 1, 2),
    ('ArrowLeft', 1, 1),
    ('ArrowUp', 0, 1),
    ('ArrowLeft', 0, 0),
    ('ArrowLeft', 0, FRAMES - 1),  # round
  ):
    still.press(key)
    expect(still, seed, frame)
  still.press('ArrowLeft', modifiers=CONTROL)
  expect(still, 0, FRAMES - 1)  # the browser's own
  still.press('ArrowUp')
  expect(still, SEEDS - 1, FRAMES - 1, methods=('real', 'gan'))
  assert still.value('scrollY') == top  # the page does not move


def test_space_plays_and_pauses_and_frames_stay_together(still):
  assert still.value('[at(), play.innerText]') == [0, 'Play']
  still.press(' ')
  assert still.value('play.innerText') == 'Pause'
  still.value('until(() => at() === 2)')
  still.press(' ')
  frame = still.value('at()')
  still.value('new Promise(done => setTimeout(done, 400))')  # three frames long
  expect(still, 0, frame)


def test_it_plays_from_the_start_unless_less_motion_is_asked_for(tab, path):
  tab.open(path, prefers_reduced_motion='no-preference')
  assert tab.value('play.innerText') == 'Pause'
  tab.value('until(() => at() === 2)')
  tab.value('until(() => at() === 0)')  # round
  tab.open(path, prefers_reduced_motion='reduce')
  tab.value('new Promise(done => setTimeout(done, 400))')
  assert tab.value('[at(), play.innerText]') == [0, 'Play']
  assert tab.value("[...document.querySelectorAll('video')].every(video => video.paused)")


def test_every_control_is_reached_by_tab_and_shows_it(tab, path):
  tab.open(path, prefers_reduced_motion='reduce')
  reached = []
  for _ in range(5):
    tab.press('Tab')
    reached.append(tab.value(FOCUS))
  assert [name for name, _ in reached] == ['pause', 'picker', 'seed', 'play', 'time']
  assert all(outlined for _, outlined in reached)


def test_controls_keep_their_own_keys(still):
  still.value('play.focus()')
  still.press(' ')
  assert still.value('play.innerText') == 'Pause'  # once, not twice
  still.press(' ')
  still.value('slide(0); slider.focus()')
  still.press('ArrowRight')
  expect(still, 0, 1)
  still.value('radios()[0].focus()')
  still.press('ArrowRight')
  expect(still, 1, 1)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_stands_out_in_both_schemes(tab, path, scheme):
  tab.open(path, prefers_color_scheme=scheme, prefers_reduced_motion='reduce')
  contrasts = tab.value(CONTRASTS)
  assert len(contrasts) > 20
  assert not {text: ratio for text, ratio in contrasts if ratio < 4.5}
  background = tab.value('getComputedStyle(document.body).backgroundColor')
  levels = [int(level) for level in background[4:-1].split(',')]
  assert max(levels) < 64 if scheme == 'dark' else min(levels) > 192


@pytest.mark.parametrize('width', [390, 1200])
def test_a_page_of_everything_fits_its_width_and_tells_no_error(tab, workdir, width):
  tab.wrong.clear()
  tab.open(report.build(workdir), width=width)
  assert tab.value('[innerWidth, document.documentElement.scrollWidth <= innerWidth]') == [
    width,
    True,
  ]
  assert len(tab.shown()) == 5
  assert not tab.wrong


def test_without_scripts_there_are_the_strips_of_all_seeds(tab, path):
  tab.open(path, scripts=False)
  assert tab.value('[picker.offsetHeight, pause.offsetHeight]') == [0, 0]
  strips = "[...document.querySelectorAll('.film img')]"
  assert tab.value(f'{strips}.filter(i => i.naturalWidth && i.offsetHeight).length') == 8
