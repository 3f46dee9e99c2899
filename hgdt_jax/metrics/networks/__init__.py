"""Pretrained networks that metrics look through, each with its preprocessing and protocol stamp.

`load(name, weights_dir)` gives a frozen object with everything a score needs: a function from
uint8 pixels to features (or to distances) and the facts that have to stand beside the number.

A further network (VideoMAE for the content-debiased FVD, say, or another face embedding) is one
file with a `build` function and one line in `_NETWORKS`; code that has its own weights can as well
build a `FeatureNetwork` directly.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from hgdt_jax.metrics.networks import weights


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
  """Pixels to feature vectors.

  Attributes:
    name: what `load` was asked for.
    sha256: content hash of the weights (names, shapes, bytes), the same for every file format
      that carries the same arrays.
    protocol: what has to be known to repeat a number: resize, range, layer, dims, source of the
      weights. JSON-able.
    features: of clips, or of images where the network is one of images. Raises ValueError on
      another dtype or shape, or on too few frames.
    smallest: least sizes of the axes of its input between the first and the last.
  """

  name: str
  sha256: str
  protocol: dict[str, Any]
  features: Callable[[UInt8[np.ndarray, 'n ... h w 3']], Float32[np.ndarray, 'n d']]
  smallest: tuple[int, ...] = (1, 1)


@dataclasses.dataclass(frozen=True)
class DistanceNetwork:
  """Pairs of images to distances; the fields as in `FeatureNetwork`."""

  name: str
  sha256: str
  protocol: dict[str, Any]
  distance: Callable[
    [UInt8[np.ndarray, 'n h w 3'], UInt8[np.ndarray, 'n h w 3']], Float32[np.ndarray, ' n']
  ]
  smallest: tuple[int, ...] = (1, 1)


# name: (module, weights file without its suffix, keyword arguments of the module's `build`)
_NETWORKS = {
  'i3d': ('i3d', 'i3d', {'layer': 'logits'}),
  'i3d_pool': ('i3d', 'i3d', {'layer': 'pool'}),
  'inception': ('inception', 'inception', {'layer': 'pool'}),
  'inception_logits': ('inception', 'inception', {'layer': 'logits_unbiased'}),
  'lpips_alex': ('lpips', 'lpips_alex', {'backbone': 'alex'}),
  'lpips_vgg': ('lpips', 'lpips_vgg', {'backbone': 'vgg'}),
  'face': ('face', 'face', {}),
}
NAMES = tuple(_NETWORKS)


def load(
  name: str, weights_dir: str | pathlib.Path | None = None, **options
) -> FeatureNetwork | DistanceNetwork:
  """The network `name` with the weights in `weights_dir`, or of an installed package.

  `weights_dir/FILE.npz` (written by `python -m hgdt_jax.metrics.convert`) comes first; then, for
  I3D and LPIPS, the arrays inside the packages of the extras `[fvd]` and `[lpips]`. Nothing is
  downloaded. Weights that are not on record are accepted with a loud warning.

  Args:
    name: one of `NAMES`.
    weights_dir: folder of converted `.npz` files, or None.
    **options: `resize` for the Inception networks: 'tf1' (default; the original FID, as in
      torch-fidelity), 'half_pixel' (pytorch-fid) or 'antialias' (torchmetrics).

  Raises:
    ValueError: unknown name, or weights that do not fit the network.
    FileNotFoundError: no weights; the text says which file, its upstream name and where to put it.
  """
  if name not in _NETWORKS:
    raise ValueError(f'no network {name!r}; there are {", ".join(NAMES)}')
  module, file, fixed = _NETWORKS[name]
  found = weights.find(file, weights_dir)
  run, protocol = _build(module)(found.arrays, **fixed, **options)
  kind = DistanceNetwork if module == 'lpips' else FeatureNetwork
  return kind(name, found.sha256, protocol | {'weights': found.source}, run, run.smallest)


def check(file: str, arrays: dict[str, np.ndarray]) -> None:
  """ValueError where `arrays` are not those of the networks that read `file`."""
  for module, of_network, fixed in _NETWORKS.values():
    if of_network == file:
      _build(module)(arrays, **fixed)


def _build(module: str):
  return importlib.import_module(f'hgdt_jax.metrics.networks.{module}').build
