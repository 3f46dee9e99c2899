"""One run at a time in a workdir: by the kernel's lock, and where there is none by the beat."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from hgdt_jax import lock

HOLD = """
import pathlib, sys, time
from hgdt_jax import lock
with lock.held(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(60)
"""
BEAT = 0.05  # seconds


@pytest.fixture
def holder(tmp_path):
  """A process that is in the workdir."""
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.wait()


def test_a_second_run_is_refused_and_one_after_a_kill_is_not(tmp_path, holder):
  with pytest.raises(ValueError, match=f'in use by process {holder.pid} on '), lock.held(tmp_path):
    pass
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert holder.pid == json.loads((tmp_path / lock.LOCK_FILE).read_text())['process']
  with lock.held(tmp_path):  # at once: what the killed run left does not stand in the way
    pass


def test_a_run_that_ended_leaves_nothing_to_look_at(tmp_path):
  with lock.held(tmp_path):
    pass
  assert not (tmp_path / lock.LOCK_FILE).read_text().strip()


@pytest.fixture
def no_kernel_locks(monkeypatch):
  """As on a network drive that has none."""

  def refuse(*_):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'lockf', refuse)


def _elsewhere(workdir, beats):
  line = json.dumps({'machine': 'node7 1234', 'process': 1, 'beats': beats})
  with os.fdopen(os.open(workdir / lock.LOCK_FILE, os.O_RDWR | os.O_CREAT), 'r+b') as file:
    file.write(line.encode().ljust(200))


@pytest.mark.usefixtures('no_kernel_locks')
def test_a_run_of_another_machine_is_told_by_its_beat(tmp_path, capsys):
  stop = threading.Event()

  def beat():
    for beats in range(1000):
      _elsewhere(tmp_path, beats)
      if stop.wait(BEAT):
        return

  thread = threading.Thread(target=beat)
  _elsewhere(tmp_path, -1)
  thread.start()
  try:
    with pytest.raises(ValueError, match='in use by process 1 on node7'), lock.held(tmp_path, BEAT):
      pass
  finally:
    stop.set()
    thread.join()
  with lock.held(tmp_path, BEAT):  # it was killed: its line stays as it is
    assert 'looking whether it still is' in capsys.readouterr().out


@pytest.mark.usefixtures('no_kernel_locks')
def test_the_beat_goes_on_while_a_run_is_in_the_workdir(tmp_path):
  with lock.held(tmp_path, BEAT):
    seen = set()
    for _ in range(200):
      seen.add((tmp_path / lock.LOCK_FILE).read_text())
      if len(seen) > 2:
        break
      threading.Event().wait(BEAT / 4)
  assert len(seen) > 2


@pytest.mark.usefixtures('no_kernel_locks')
def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(tmp_path, capsys):
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  line = {'machine': lock._machine(), 'process': gone.pid, 'beats': 3}
  (tmp_path / lock.LOCK_FILE).write_text(json.dumps(line).ljust(200))
  with lock.held(tmp_path):
    assert not capsys.readouterr().out


def test_what_is_no_lock_is_no_obstacle_for_long(tmp_path):
  (tmp_path / lock.LOCK_FILE).write_text('?' * 300)
  with lock.held(tmp_path, BEAT):
    pass
