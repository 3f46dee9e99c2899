"""Damaged files by the hundred: no crash, no hang, one line at most."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
_CASES = """
import faulthandler, pathlib, random, resource, sys, time
import numpy as np
from input_pipeline import video_files
from input_pipeline.clip import BadClip

faulthandler.enable()
good, work, count = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
files, slowest, refused = sorted(good.iterdir()), 0.0, 0
for case in range(count):
  rng = random.Random(case)
  content = bytearray(files[case % len(files)].read_bytes())
  name = files[case % len(files)].name
  if rng.random() < 0.4:
    del content[rng.randrange(1, len(content)):]
  for _ in range(rng.choice([0, 1, 1, 3, 30])):
    where = rng.randrange(min(len(content), rng.choice([64, 512, 10**6])))
    content[where] ^= rng.randrange(1, 256)
  path = work / (f'{case}.frames' if name.endswith(('.png', '.jpg')) else f'{case}{name[2:]}')
  target = path
  if path.suffix == '.frames':
    path.mkdir()
    target = path / name
  target.write_bytes(content)
  start = time.monotonic()
  print(case, name, flush=True)
  try:
    info = video_files.probe(path)
    for first in (0, info.frames // 2):
      frames = np.arange(first, min(info.frames, first + 40))
      video = video_files.read(path, frames, 16, info)
      assert video.shape == (len(frames), 16, 16, 3) and video.dtype == np.uint8
  except BadClip as e:
    refused += 1
    assert str(e) and len(str(e).splitlines()) == 1 and len(str(e)) < 300, str(e)
  slowest = max(slowest, time.monotonic() - start)
  target.unlink()
print('done', count, 'refused', refused, 'slowest', round(slowest, 2))
"""


@pytest.fixture(scope='module')
def good(tmp_path_factory, clips):
  root = tmp_path_factory.mktemp('good')
  noise = np.random.default_rng(0).integers(0, 60, (20, 32, 48, 3), np.uint8)
  video = clips.numbered(20, 32, 48) // 2 + noise
  for ending in ('.mp4', '.mkv', '.avi', '.webm', '.gif', '.ts', '.mpg', '.wmv', '.flv'):
    clips.write(root / f'ok{ending}', video)
  np.savez_compressed(root / 'ok.npz', video=video)
  np.save(root / 'ok.npy', video)
  Image.fromarray(video[0]).save(root / 'ok.png')
  Image.fromarray(video[0]).save(root / 'ok.jpg')
  return root


def fuzz(good, work, count, timeout):
  done = subprocess.run(
    [sys.executable, '-c', _CASES, str(good), str(work), str(count)],
    cwd=ROOT, capture_output=True, text=True, timeout=timeout,
  )  # fmt: skip
  assert done.returncode == 0, (done.stdout[-200:], done.stderr[-2000:])
  words = done.stdout.splitlines()[-1].split()
  assert words[:2] == ['done', str(count)]
  print(*words)
  assert count * 0.2 < int(words[3]) < count * 0.95, 'many are refused, and some are still clips'
  assert float(words[5]) < 20, 'seconds for one file'


def test_damaged_files_do_no_harm(good, tmp_path):
  fuzz(good, tmp_path, 63, timeout=600)


@pytest.mark.slow
def test_500_damaged_files_do_no_harm(good, tmp_path):
  fuzz(good, tmp_path, 500, timeout=3000)
