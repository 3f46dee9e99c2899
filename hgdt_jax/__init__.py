"""Hybrid GAN + diffusion video generation in JAX/Flax."""

import importlib.machinery
import pathlib
import sys

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
