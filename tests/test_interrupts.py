"""Signals: raised at once, held back, and never lost."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BEGIN = """
import gc, os, signal, time
from hgdt_jax import interrupts
interrupts.install(lambda stop: print('stopped by', stop.signal))

def come(*_):
  os.kill(os.getpid(), signal.{name})
  for _ in range(1000):
    pass
"""
AT_ONCE = """
come()
time.sleep(20)
print('went on')
"""
IN_A_FINALISER = """
class Gone:
  __del__ = come
Gone()
time.sleep(20)
print('went on')
"""
IN_A_CALLBACK_OF_THE_COLLECTOR = """
gc.callbacks.append(lambda phase, _: phase == 'start' and come())
gc.collect()
time.sleep(20)
print('went on')
"""
IN_A_BARE_EXCEPT = """
try:
  come()
except:
  pass
time.sleep(20)
print('went on')
"""
CLEANING_UP = """
try:
  come()
finally:
  time.sleep(.2)
  print('saved')
"""
LOOKED_AFTER_ALL_THE_TIME = """
interrupts._SOON = 2e-5
try:
  come()
finally:
  time.sleep(.2)
  print('saved')
"""
HELD = """
with interrupts.held() as told:
  assert not told()
  come()
  assert told()
  print('saved')
print('went on')
"""


@pytest.mark.parametrize('name, code', [('SIGTERM', 143), ('SIGINT', 130)])
@pytest.mark.parametrize(
  'program',
  [
    AT_ONCE,
    IN_A_FINALISER,
    IN_A_CALLBACK_OF_THE_COLLECTOR,
    IN_A_BARE_EXCEPT,
    CLEANING_UP,
    *[LOOKED_AFTER_ALL_THE_TIME] * 4,  # each meets the way out by chance, mostly
    HELD,
  ],
)
def test_a_signal_ends_the_process_in_one_line_wherever_it_comes(program, name, code):
  done = subprocess.run(
    [sys.executable, '-c', BEGIN.format(name=name) + program],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  saved = ['saved'] if 'saved' in program else []
  assert (done.returncode, done.stderr) == (code, '')
  assert done.stdout.splitlines() == [*saved, f'stopped by {name}']


IN_A_VERB = """
import os, signal, time
from hgdt_jax import cli

class Gone:
  def __del__(self):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
      pass

def main():
  Gone()
  time.sleep(20)

cli.run(main)
"""


def test_a_verb_does_not_lose_one_either():
  done = subprocess.run([sys.executable, '-c', IN_A_VERB], capture_output=True, text=True, cwd=ROOT)
  assert (done.returncode, done.stdout) == (143, '')
  assert done.stderr == '-c: stopped by SIGTERM; resume with the same command\n'
