"""Arrays of a pretrained network: found on disk or in an installed package, and hashed.

Here and in the `.npz` files the arrays have one flat form: 'path/of/layer/kernel' in the layout of
`jax.lax` (`[t, h, w, in, out]`, `[h, w, in, out]`), 'bias' of a convolution, and 'mean', 'var',
'beta', 'gamma' of a batch normalisation as published, not folded, so that one set of arrays has
one hash whatever file it came in.
"""

import dataclasses
import functools
import hashlib
import pathlib

import numpy as np
from absl import logging

from hgdt_jax.metrics.networks import npz, packages, published

_SOURCE = 'source'  # the entry of an .npz that is no array of the network


@dataclasses.dataclass(frozen=True)
class Weights:
  """`arrays` in the flat form; `source` says, in words, whose they are."""

  arrays: dict[str, np.ndarray]
  source: str

  @functools.cached_property
  def sha256(self) -> str:
    return content_hash(self.arrays)


def content_hash(arrays: dict[str, np.ndarray]) -> str:
  """sha256 over names, types, shapes and bytes in the order of names."""
  digest = hashlib.sha256()
  for name in sorted(arrays):
    array = np.ascontiguousarray(arrays[name])
    digest.update(f'{name} {array.dtype.str} {array.shape}\n'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def find(file: str, weights_dir: str | pathlib.Path | None) -> Weights:
  """`weights_dir/file.npz`, else the arrays of the installed package that carries them.

  Logs a loud warning for arrays that are not on record.

  Raises:
    FileNotFoundError: neither is there, or no such folder.
    ValueError: a damaged file.
  """
  if weights_dir is not None and not pathlib.Path(weights_dir).is_dir():
    raise FileNotFoundError(f'{weights_dir}: no such folder of weights')
  path = pathlib.Path(weights_dir or '.') / f'{file}.npz'
  if weights_dir is not None and path.exists():
    found = load_npz(path)
  else:
    arrays = packages.arrays(file)
    if arrays is None:
      raise FileNotFoundError(published.missing(file, weights_dir))
    found = Weights(arrays, packages.PACKAGES[file].distribution)
  known = published.CONTENT[file].get(found.sha256)
  if known is None and found.source.startswith(published.UNKNOWN):
    logging.warning(
      'UNKNOWN WEIGHTS for %s: %s. Scores made with them compare with no published number; the '
      'stamp says so.', file, found.source,
    )  # fmt: skip
  return Weights(found.arrays, known or found.source)


def load_npz(path: str | pathlib.Path) -> Weights:
  """What `save_npz` wrote; an `.npz` of another origin counts as unknown weights."""
  with pathlib.Path(path).open('rb') as file:
    npz.check_start(str(path), file.read(npz.START))
    file.seek(0)
    arrays = npz.read(str(path), file)
  npz.check_finite(str(path), arrays)
  source = arrays.pop(_SOURCE, f'{published.UNKNOWN} {pathlib.Path(path).name}')
  return Weights(arrays, str(source))


def save_npz(path: str | pathlib.Path, found: Weights) -> None:
  np.savez(path, **found.arrays, **{_SOURCE: np.array(found.source)})
