"""Clips per second a core of each source, and the share of a step that the device waits for them.

  python benchmarks/input.py [--clips=DIR] [--step_ms=300] [--batch=8]

Seconds are CPU seconds of this process and all its threads, so that a busy machine shows the same
figures; only the last table, which is about waiting, is by the clock. `--clips` adds a folder of
one's own.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import av
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from input_pipeline import Batches, make_source, prepare, video_files


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument('--clips', default='', help='a folder of clips, read as well')
  parser.add_argument('--frames', type=int, default=16)
  parser.add_argument('--size', type=int, default=64)
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--step_ms', type=float, default=300, help='time of a training step')
  parser.add_argument('--repeats', type=int, default=5, help='the best of so many is printed')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as work:
    run(args, pathlib.Path(work))


def run(args, work):
  """Makes the files it needs in `work`, and prints three tables."""
  shape = {'frames': args.frames, 'size': args.size, 'split': 'train'}
  (work / 'mp4').mkdir()
  for k in range(4):
    write_mp4(work / 'mp4' / f'{k}.mp4', seed=k)
  synthetic = make_source('synthetic', **shape, count=512)
  prepare.prepare({'train': synthetic}, work / 'prepared')
  sources = {
    'synthetic': synthetic,
    'folder, mp4 256x256, decoded': make_source(
      'folder', path=work / 'mp4', **shape, test_share=0.0, cache_bytes=0
    ),
    'folder, mp4 256x256, cached': make_source(
      'folder', path=work / 'mp4', **shape, test_share=0.0
    ),
    'arrayrecord': make_source('arrayrecord', path=work / 'prepared', **shape),
  }
  if args.clips:
    own = make_source('folder', path=args.clips, **shape, cache_bytes=0)
    sources[f'{args.clips}, decoded'] = own

  print(f'clips of {args.frames}x{args.size}x{args.size}, a second a core: read, and batched')
  for name, source in sources.items():
    count = 400 if 'decoded' not in name else 40
    read = best(args.repeats, count, lambda source=source, count=count: read_clips(source, count))
    batched = best(
      args.repeats,
      count,
      lambda source=source, count=count: read_batches(source, count, args.batch),
    )
    print(f'  {name:32} {read:8.0f} {batched:8.0f}')
  raw = best(args.repeats, 400, lambda: read_raw(sources['arrayrecord'], 400))
  print(f'  {"arrayrecord, bare record reads":32} {raw:8.0f}')

  paths = sorted((work / 'mp4').iterdir())
  if args.clips:
    folder = make_source('folder', path=args.clips, **shape, cache_bytes=0)
    paths = [e.path for e, _ in folder._files if e.path.suffix in video_files.VIDEOS] or paths
  infos = [video_files.probe(path) for path in paths]
  frames = sum(info.frames for info in infos)
  bare, ours = [], []
  for _ in range(args.repeats):  # in turns: what else the machine does then weighs on both alike
    bare.append(best(1, frames, lambda: [decode_bare(path) for path in paths]))
    ours.append(best(1, frames, lambda: read_whole(paths, infos, args.size)))
  bare, ours = max(bare), max(ours)
  print(
    f'frames a second a core: a bare PyAV loop {bare:.0f}, ours with resizing {ours:.0f}', end=''
  )
  print(f' ({100 * (bare / ours - 1):+.0f}% time)')

  print(f'share of a {args.step_ms:g} ms step, batch {args.batch}, that the device waits')
  for name, source in sources.items():
    aside, beside = (wait_share(source, args, busy) for busy in (False, True))
    print(f'  {name:32} {aside:7.2%} on a device of its own, {beside:7.2%} on this CPU')


def best(repeats, count, work):
  """Most things per CPU second of several runs of `work`, after one to warm up."""
  work()
  seconds = []
  for _ in range(repeats):
    start = time.process_time()
    work()
    seconds.append(time.process_time() - start)
  return count / min(seconds)


def read_clips(source, count):
  for i in range(count):
    source[i % len(source)]


def read_batches(source, count, batch):
  batches = Batches(source, batch=batch, seed=0)
  for _ in range(count // batch):
    next(batches)
  batches.close()


def read_raw(source, count):
  for i in range(count):
    source._records[i % len(source)]


def read_whole(paths, infos, size):
  for path, info in zip(paths, infos):
    video_files.read(path, range(info.frames), size, info)


def decode_bare(path):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.thread_type = 'NONE'
    return [frame.to_ndarray(format='rgb24') for frame in container.decode(stream)]


def wait_share(source, args, busy, steps=15):
  """Time in `next` over all time, while steps sleep (another device) or keep a core busy."""
  batches = Batches(source, batch=args.batch, seed=0)
  next(batches)
  waited, start = 0.0, time.perf_counter()
  for _ in range(steps):
    before = time.perf_counter()
    next(batches)
    after = time.perf_counter()
    waited += after - before
    spend(args.step_ms / 1000, busy)
  batches.close()
  return waited / (time.perf_counter() - start)


def spend(seconds, busy):
  if not busy:
    time.sleep(seconds)
    return
  end, matrix = time.perf_counter() + seconds, np.ones((256, 256), np.float32)
  while time.perf_counter() < end:
    matrix @ matrix


def write_mp4(path, seed, frames=64, side=256):
  """A moving pattern with a little noise, as a camera gives."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:side, :side] / side
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=25)
    stream.height, stream.width, stream.pix_fmt = side, side, 'yuv420p'
    for t in range(frames):
      wave = 127 + 90 * np.sin(20 * (x + 0.02 * t) * (1 + seed)) * np.cos(9 * y)
      image = (wave[..., None] + rng.normal(0, 4, (side, side, 3))).clip(0, 255).astype(np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())


if __name__ == '__main__':
  main()
