"""What a run runs on: said in one line before anything else, or why there is nothing."""

import collections
import ctypes
import importlib.metadata
import importlib.util
import os
import platform

import jax
from jax.sharding import Mesh


def start() -> None:
  """Asks jax for its devices, once; if those are CPUs, the process keeps what memory it frees.

  Raises:
    ValueError: it finds none, by the platforms that it was told of.
  """
  if _has_only_cpus() and platform.libc_ver()[0] == 'glibc':
    _keep_memory()  # jax asks how programs are to be run as it starts
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter where jax has no plugin for it
    asked = f'JAX_PLATFORMS={told}: ' if (told := os.environ.get('JAX_PLATFORMS')) else ''
    why = str(error).partition(' (set JAX_PLATFORMS')[0].rstrip('. ') or 'it has no plugin for it'
    raise ValueError(
      f'{asked}jax finds no such device ({why}); install hgdt_jax[cuda] or hgdt_jax[tpu], or set '
      'JAX_PLATFORMS=cpu'
    ) from error


def line(mesh: Mesh | None = None, dtype: str = '') -> str:
  """Devices, versions and processes; of what computes on a mesh, that and its dtype too."""
  kinds = collections.Counter(_kind(device) for device in jax.devices())
  parts = [', '.join(f'{count} x {kind}' for kind, count in kinds.items())]
  parts += [f'jax {jax.__version__}', f'Python {platform.python_version()}']
  if jax.process_count() > 1:
    parts.append(f'process {jax.process_index()} of {jax.process_count()}')
  else:
    parts.append('1 process')
  if dtype:
    parts.append(dtype)
  if mesh is not None:
    parts.append('mesh ' + ' x '.join(f'{name}={size}' for name, size in mesh.shape.items()))
  return 'on ' + ', '.join(parts)


def advice(dtype: str, clip: tuple[int, ...]) -> str:
  """What to say of a recipe that is meant for other devices than there are; '' if it is not."""
  if dtype == 'bfloat16' and jax.default_backend() == 'cpu':
    frames, size, _ = clip
    return (
      f'a recipe for a GPU or a TPU ({dtype}, {frames} frames of {size}x{size}) is on a CPU, where '
      'a step takes seconds to minutes; configs/hybrid.py:small is for CPUs'
    )
  return ''


def _has_only_cpus():
  """As far as can be known before jax has started."""
  if jax.config.jax_platforms:
    return jax.config.jax_platforms == 'cpu'
  plugins = importlib.metadata.entry_points(group='jax_plugins')
  return not plugins and importlib.util.find_spec('libtpu') is None


def _keep_memory():
  """What a step frees the next one has again, where the user's environment does not say else.

  By default the C library gives a large block back to the system at once, and each of its pages
  comes anew, filled with zeros: a fifth of a step's time. It is to keep them; only the main thread
  has room for more than 64 MB in a piece, so programs are run in the thread that calls them.
  """
  if any(name.startswith('MALLOC_') for name in os.environ):
    return
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  trim_threshold, mmap_threshold = -1, -3  # numbers of malloc.h
  libc = ctypes.CDLL(None)
  libc.mallopt(trim_threshold, 2**31 - 1)
  libc.mallopt(mmap_threshold, 2**30)


def _kind(device):
  return device.device_kind if device.device_kind != 'cpu' else 'CPU'
