"""One run at a time in a workdir, on a network drive too.

The kernel's lock goes with the process that holds it, however that ends. Where a drive has none, or
one that other machines do not see, there is the beat: the holder's line in the file, written anew
every few seconds. A line that stays as it is while it is looked at is of a run that was killed.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

LOCK_FILE = '.lock'
BEAT_SECONDS = 5.0
_WIDTH = 200  # bytes of the line: written in place, so that no reader finds half of it
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(workdir: pathlib.Path, beat_seconds: float = BEAT_SECONDS) -> Iterator[None]:
  """Keeps other processes' runs out of `workdir`, which is made if need be.

  Raises:
    ValueError: a run is in it.
    OSError: the folder cannot be written to.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  # One descriptor for all: to close any other of this process would give the kernel's lock away.
  file = os.open(workdir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
  try:
    _enter(file, workdir, beat_seconds)
    stop = threading.Event()
    _write(file, _line(0))  # at once, for whoever is refused
    thread = threading.Thread(target=_beat, args=(file, beat_seconds, stop), daemon=True)
    thread.start()
    try:
      yield
    finally:
      stop.set()
      thread.join()
      _write(file, '')  # ended by itself: nobody has to look whether it beats
  finally:
    os.close(file)


def _enter(file, workdir, beat_seconds):
  by_kernel = _lock(file, workdir)
  found = _read(file)
  if not found or (_is_here(found) and (by_kernel or _is_gone(found))):
    return
  print(f'{workdir} was in use by {_who(found)}; looking whether it still is', flush=True)
  until = time.monotonic() + 3 * beat_seconds
  while time.monotonic() < until:
    time.sleep(beat_seconds / 10)
    if _read(file) != found:
      raise _in_use(workdir, found)


def _lock(file, workdir):
  """Whether the kernel keeps the lock."""
  try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in (errno.EACCES, errno.EAGAIN):
      raise _in_use(workdir, _read(file)) from error
    if error.errno not in _NO_LOCKS:
      raise
    return False
  return True


def _beat(file, seconds, stop):
  beats = 0
  while not stop.wait(seconds):
    beats += 1
    _write(file, _line(beats))


def _line(beats):
  return json.dumps({'machine': _machine(), 'process': os.getpid(), 'beats': beats})


def _read(file):
  return os.pread(file, _WIDTH, 0).decode(errors='replace').strip('\0 ')


def _write(file, line):
  # A disk that is full or gone is told by whatever writes what matters.
  with contextlib.suppress(OSError):
    os.pwrite(file, line.encode().ljust(_WIDTH), 0)


def _machine():
  """The machine's name since its last start, so that process numbers mean something."""
  boot = pathlib.Path('/proc/sys/kernel/random/boot_id')
  return f'{socket.gethostname()[:64]} {boot.read_text()[:8] if boot.exists() else ""}'


def _holder(found):
  try:
    holder = json.loads(found)
    return str(holder['machine']), int(holder['process'])
  except (ValueError, KeyError, TypeError):  # not written by this module
    return 'another machine', 0


def _is_here(found):
  return _holder(found)[0] == _machine()


def _is_gone(found):
  _, process = _holder(found)
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return True
  except PermissionError:
    return False
  return process == os.getpid()


def _who(found):
  machine, process = _holder(found)
  return f'process {process} on {machine.split()[0]}' if process else 'another run'


def _in_use(workdir, found):
  return ValueError(
    f'{workdir} is in use by {_who(found)}; wait for it, stop it, or choose another --workdir'
  )
