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
_IMPORTS = """
import importlib.abc, importlib.util, sys

class Imported(importlib.abc.Loader):
  def find_spec(self, name, *_):
    return importlib.util.spec_from_loader(name, self) if name == 'imported' else None

  def exec_module(self, module):
{}
sys.meta_path.append(Imported())
import imported
time.sleep(20)
print('went on')
"""
IN_AN_IMPORT = _IMPORTS.format("""
    try:
      come()
      print('saved')
    except BaseException:
      raise ImportError('initialization failed')
""")
IN_AN_IMPORT_WITHOUT_END = _IMPORTS.format("""
    interrupts._IMPORT = .2
    come()
    time.sleep(20)
    print('waited')
""")
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
    IN_AN_IMPORT,
    IN_AN_IMPORT_WITHOUT_END,
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
import atexit, os, signal, time
from hgdt_jax import cli

atexit.register(time.sleep, .2)  # a program's end takes its time

def come(*_):
  os.kill(os.getpid(), signal.SIGTERM)
  for _ in range(1000):
    pass

class Gone:
  __del__ = come

def main():
{}
cli.run(main)
"""
LOST = """
  Gone()
  time.sleep(20)
"""
ANOTHER_ERROR_IN_ITS_PLACE = """
  class Named:
    __set_name__ = come
  try:
    type('Owner', (), {'named': Named()})  # of which Python 3.11 makes a RuntimeError
  except RuntimeError as error:
    raise ImportError('initialization failed') from error
"""
THEN_AN_ERROR_OF_ITS_OWN = """
  Gone()
  raise ValueError('no such thing')
"""


@pytest.mark.parametrize(
  'main, code, said',
  [
    (LOST, 143, 'stopped by SIGTERM; resume with the same command'),
    (ANOTHER_ERROR_IN_ITS_PLACE, 143, 'stopped by SIGTERM; resume with the same command'),
    (THEN_AN_ERROR_OF_ITS_OWN, 1, 'no such thing'),
  ],
)
def test_a_verb_tells_what_ended_it(main, code, said):
  done = subprocess.run(
    [sys.executable, '-c', IN_A_VERB.format(main)], capture_output=True, text=True, cwd=ROOT
  )
  assert (done.returncode, done.stdout, done.stderr) == (code, '', f'-c: {said}\n')
