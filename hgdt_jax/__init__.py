"""Hybrid GAN + diffusion video generation in JAX/Flax.

What `__all__` names are the verbs from Python; `hgdt_jax.api` says what they do. What else there is
may change.
"""

import importlib.machinery
import pathlib
import sys

__all__ = ['config', 'evaluate', 'load', 'prepare', 'show', 'show_flow', 'show_over', 'train']
__version__ = '0.4.0'

_BESIDE = ('configs', 'input_pipeline')  # packages that are installed with this one
_FOLDER = str(pathlib.Path(__file__).resolve().parents[1])


class _Beside:
  """Finds them where this package lies, whatever the current folder has of the same names."""

  @staticmethod
  def find_spec(name, path=None, target=None):
    del path, target
    if name in _BESIDE:
      return importlib.machinery.PathFinder.find_spec(name, [_FOLDER])
    return None


sys.meta_path.insert(0, _Beside)


def __getattr__(name):
  # Not imported before it is asked for: a verb catches signals first, and --help takes no time.
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from hgdt_jax import api

  return getattr(api, name)
