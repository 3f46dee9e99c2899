"""JAX processes of one run: the first writes what is global, and all go by what it says."""

import json
import logging
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def join(coordinator: str = '', count: int | None = None, index: int | None = None) -> None:
  """Makes this process one of several of a run; where nothing is given, the cluster is asked.

  Args:
    coordinator: HOST:PORT of the first.
    count: of all of them.
    index: of this one.
  """
  jax.config.update('jax_enable_preemption_service', False)  # it would take SIGTERM for itself
  jax.distributed.initialize(coordinator or None, count, index)
  if not is_first():
    logging.disable(logging.WARNING)  # what the first says holds for all


def is_first() -> bool:
  """Whether this process writes files, prints and draws the page."""
  return jax.process_index() == 0


def from_first(act: Callable[[], Any]) -> Any:
  """What `act()` gives in the first process, JSON, in every process; the others do not call it.

  Raises:
    ValueError, OSError: what `act` raised in the first process, in the others as ValueError.
  """
  if jax.process_count() == 1:
    return act()
  said, error = {}, None
  if is_first():
    try:
      said['value'] = act()
    except (ValueError, OSError) as raised:
      said['error'], error = str(raised), raised
  said = json.loads(_from_first(json.dumps(said).encode()))
  if 'error' in said:
    raise error or ValueError(said['error'])
  return said['value']


def any_of_them(flag: bool) -> bool:
  """Whether it is so in any process; all must ask at the same point."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


def wait(name: str) -> None:
  """Until every process is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def _from_first(text: bytes) -> bytes:
  length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
  padded = np.zeros(length, np.uint8)
  if is_first():
    padded[:] = np.frombuffer(text, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()
