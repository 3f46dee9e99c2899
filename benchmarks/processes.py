"""The whole main job by one process and by two on loopback: their scores side by side.

python benchmarks/processes.py
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import soak


def main(directory: pathlib.Path, stages, steps: int) -> None:
  scores, lines = {}, {}
  for count in (1, 2):
    began = time.monotonic()
    workdir = directory / f'processes-{count}'
    lines[count] = _run(soak.command(workdir, stages, steps), directory, count)
    results = json.loads((workdir / 'results.json').read_text())['results']
    scores[count] = {
      (row['method'], name): value for row in results for name, value in row['metrics'].items()
    }
    print(f'{count} processes: {time.monotonic() - began:.0f} s')
  print(f'{"method":20} {"metric":32} {"1 process":>14} {"2 processes":>14} {"relative":>10}')
  for (method, name), one in scores[1].items():
    two = scores[2][method, name]
    print(f'{method:20} {name:32} {one:14.8g} {two:14.8g} {abs(two - one) / abs(one or 1):10.1e}')
  assert scores[1].keys() == scores[2].keys()
  print('lines on the terminal, by process:', [len(each) for each in lines[2]])


def _run(command, directory, count):
  """What each process printed."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  environment = os.environ | {'PYTHONPATH': str(soak.ROOT)}
  environment.setdefault('JAX_COMPILATION_CACHE_DIR', str(directory / 'cache'))
  environment.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  joined = ['--distributed', f'--coordinator={address}', f'--processes={count}']
  running = [
    subprocess.Popen(
      [*command, *([*joined, f'--process={i}'] if count > 1 else [])],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i in range(count)
  ]
  said = [process.communicate()[0] for process in running]
  assert not any(process.returncode for process in running), '\n'.join(said)
  return [each.splitlines() for each in said]


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--stages', nargs='+', default=soak.STAGES)
  parser.add_argument('--steps', type=int, default=30, help='of each stage')
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    main(pathlib.Path(temporary), given.stages, given.steps)
