"""SIGTERM and Ctrl-C: raised at once, but where something is not to be left half-done.

Of verbs: a library installs no handlers, and where none is installed nothing here does anything.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator


class Interrupted(BaseException):
  """A signal asks the run to end. No `Exception`: what mends errors must not swallow it.

  Attributes:
    signal: its name.
    code: the exit code, 128 and its number, by which a scheduler sees that the run is not done.
    advice: what is kept, and how to go on.
  """

  advice = 'resume with the same command'

  def __init__(self, number: int):
    super().__init__(signal.Signals(number).name)
    self.signal, self.code = signal.Signals(number).name, 128 + number


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SOON = 0.05  # seconds until it is looked whether what was raised got lost
_IMPORT = 10.0  # seconds that a module which is being imported is waited for
_holds = 0  # how many `held` are around what runs
_told: int | None = None  # the signal that came
_came = 0.0  # when
_end: types.CodeType | None = None  # what runs last where something was raised


def install(say: Callable[[Interrupted], None]) -> None:
  """From here on a signal ends this process with its code, after `say`."""
  global _end
  if multiprocessing.parent_process():  # a loader's worker: its parent ends it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return
  for number in _SIGNALS:
    signal.signal(number, _come)
  signal.signal(signal.SIGALRM, _again)
  told_before, ignored_before = sys.excepthook, sys.unraisablehook

  def ignored(what):
    if not isinstance(what.exc_value, Interrupted):  # which comes again
      ignored_before(what)

  def end(kind, error, trace):
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not isinstance(error, Interrupted):
      told_before(kind, error, trace)
      return
    say(error)
    sys.stdout.flush()
    os._exit(error.code)  # threads that read ahead, and other processes, are not waited for

  sys.excepthook, sys.unraisablehook, _end = end, ignored, end.__code__


def uninstall() -> None:
  """All is written: a signal only ends the process sooner."""
  signal.setitimer(signal.ITIMER_REAL, 0)
  for number in _SIGNALS:
    signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def unmasked() -> Iterator[None]:
  """Within, what a library raises in the place of a signal's `Interrupted` is that again."""
  try:
    yield
  except Exception as error:
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop = error
    while stop is not None and not isinstance(stop, Interrupted):
      stop = stop.__cause__
    if stop is None:
      raise
    raise stop from stop.__cause__


@contextlib.contextmanager
def held() -> Iterator[Callable[[], bool]]:
  """Within, a signal only makes what is yielded say True; it is raised at the end."""
  global _holds
  _holds += 1
  try:
    yield lambda: _told is not None
  finally:
    _holds -= 1
  if _told is not None and not _holds:
    raise Interrupted(_told)


def tell() -> None:
  """As if a signal had come: it came to another process of the run."""
  global _told
  _told = _told or signal.SIGTERM


def _come(number, frame):
  global _told, _came
  again, _told = _told is not None, _told or number
  if not again:
    _came = time.monotonic()
    if not _holds:
      _raise(frame)
  if again and number == signal.SIGINT:  # Ctrl-C twice: the next start clears what is half-done
    os._exit(128 + number)


def _raise(frame):
  # Whoever is running may swallow it: a finaliser and a callback of the garbage collector, out of
  # which nothing is raised, or a bare `except` of a library. So it is looked at once more.
  signal.setitimer(signal.ITIMER_REAL, _SOON)
  if not _importing(frame) or time.monotonic() - _came > _IMPORT:
    raise Interrupted(_told)


def _again(number, frame):
  del number
  if _holds or frame.f_code is _end:  # whose end raises it; what was raised has arrived
    return
  error = sys.exception()
  while error is not None:
    if isinstance(error, Interrupted):  # on its way: what cleans up behind it is not disturbed
      signal.setitimer(signal.ITIMER_REAL, _SOON)
      return
    error = error.__context__
  _raise(frame)


def _importing(frame):
  """Whether a module is: what is compiled raises another error in its place, or crashes."""
  while frame is not None and not frame.f_code.co_filename.startswith('<frozen importlib'):
    frame = frame.f_back
  return frame is not None
