"""A written clip as a browser shows it: headless Chromium plays it and gives its pixels back."""

import base64
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest

from hgdt_jax.sampling import clips, folders

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, _NAMES)), None)
SECONDS = 90  # of a slow machine; else a few
PAGE = """<!doctype html><canvas></canvas><script>
const canvas = document.querySelector('canvas');
async function shown(source, time) {
  const video = document.createElement('video');
  const happens = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, {once: true});
    video.addEventListener('error', () => reject(video.error.message), {once: true});
  });
  video.muted = true;
  const ended = happens('ended');
  video.src = source;
  await video.play();
  await ended;
  // A busy machine puts the frame on the screen after it says that it has found it; of a single
  // frame, which is there already, nothing more is told.
  const there = new Promise((resolve) => {
    const look = (now, frame) =>
      Math.abs(time - frame.mediaTime - 1 / 16) <= 1 / 16
        ? resolve() : video.requestVideoFrameCallback(look);
    video.requestVideoFrameCallback(look);
  });
  const late = new Promise((resolve) => setTimeout(resolve, 5000));
  const sought = happens('seeked');
  video.currentTime = time;
  await sought;
  await Promise.race([there, late]);
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return {size: [canvas.height, canvas.width], seconds: video.duration, pixels: [...pixels]};
}
(async () => {
  const told = [];
  for (const [source, time] of ASKED)
    told.push(await shown(source, time).catch((error) => ({error: String(error)})));
  await fetch('/', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"""


def _as_chromium_shows(files, times, profile):
  """What the page tells of each file: its size, its seconds, and the pixels at a time."""
  sources = [
    'data:video/mp4;base64,' + base64.b64encode(file.read_bytes()).decode() for file in files
  ]
  page = PAGE.replace('ASKED', json.dumps(list(zip(sources, times)))).encode()
  answers = queue.Queue()

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(200)
      self.send_header('Content-Type', 'text/html')
      self.end_headers()
      self.wfile.write(page)

    def do_POST(self):
      answers.put(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
      self.send_response(204)
      self.end_headers()

    def log_message(self, *arguments):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  options = ['--headless=new', '--no-sandbox', '--disable-gpu', f'--user-data-dir={profile}']
  quiet = subprocess.DEVNULL
  address = f'http://127.0.0.1:{server.server_port}/'
  browser = subprocess.Popen([CHROMIUM, *options, address], stdout=quiet, stderr=quiet)
  try:
    return answers.get(timeout=SECONDS)
  finally:
    browser.terminate()
    browser.wait()
    server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here; CHROMIUM=FILE names one')
def test_chromium_plays_what_sample_and_a_run_write_and_shows_its_frames(tmp_path):
  """Of the default format, at 8 frames a second: even and odd sizes, a grid, a single frame.

  The frames differ by their brightness, so that none passes for its neighbour.
  """
  colours = np.array([[230, 40, 40], [40, 200, 60], [50, 60, 220], [240, 240, 240]])
  bars = np.zeros((8, 32, 64, 3))
  bars[:] = np.repeat(colours, 16, axis=0) * np.linspace(0.3, 1, 8)[:, None, None, None]
  bars = bars.astype(np.uint8)
  odd = bars[:, :31, :63]
  paths = folders.write_clips([bars, odd, bars[5:6]], tmp_path, 8, 'mp4')
  playing = clips.grid(np.stack([bars, bars[:, ::-1]]))
  clips.write_mp4(playing, tmp_path / 'grid.mp4', 8, lossless=False)
  files, frame = [*paths, tmp_path / 'grid.mp4'], 5
  times = [(frame + 0.5) / 8, (frame + 0.5) / 8, 0.05, (frame + 0.5) / 8]
  told = _as_chromium_shows(files, times, tmp_path / 'profile')
  for one, clip, seconds in zip(told, (bars, odd, bars[5:6], playing), (1, 1, 1 / 8, 1)):
    assert 'error' not in one, one
    assert one['seconds'] == pytest.approx(seconds, abs=0.01)
    height, width = clip.shape[1:3]
    assert one['size'] == [height + height % 2, width + width % 2]
    pixels = np.array(one['pixels']).reshape(*one['size'], 4)[:height, :width, :3]
    error = np.abs(pixels - clip[min(frame, len(clip) - 1)].astype(int))
    assert np.median(error) <= 3 and np.quantile(error, 0.9) <= 12, (np.median(error), error.max())
