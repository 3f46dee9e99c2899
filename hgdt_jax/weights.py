"""Trained networks as one file to take away: safetensors, and in its header all it takes to draw.

A tensor is named STAGE/NETWORK/COLLECTION/..., as Flax nests it: the weights that sample, in the
collection `params`, and what goes with them. The header has one entry of ours, JSON.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Collection, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from configs import base
from hgdt_jax import __version__, atomic, handed_on, settings
from hgdt_jax.state import Net
from input_pipeline import probes

DTYPES = ('float32', 'float16')
SUFFIX = '.safetensors'
FORMAT = 1
_ENTRY = 'hgdt_jax'
_FOLDER = pathlib.Path(__file__).parent / 'shipped'


@dataclasses.dataclass(frozen=True)
class Weights:
  """Networks of some stages of a run.

  Attributes:
    cfg: the run's configuration, without the paths of where it was trained.
    nets: what the stages hand on, `{stage: {network: Net}}`, float32.
    about: what is known of them: versions, commit, steps, data, licence, scores, ...; JSON.
    path: of the file; None where there is none yet.
  """

  cfg: settings.Config
  nets: Mapping[str, Mapping[str, Net]]
  about: Mapping[str, Any]
  path: pathlib.Path | None = None

  @property
  def where(self) -> str:
    """For messages."""
    is_shipped = self.path is not None and self.path.parent == _FOLDER
    return f'the shipped weights {self.path.stem}' if is_shipped else str(self.path)

  @property
  def lent(self) -> dict[str, Collection[str]]:
    """The networks of each stage."""
    return {stage: tuple(nets) for stage, nets in self.nets.items()}

  @property
  def identity(self) -> str:
    """What tells these weights from others of the same configuration."""
    return hashlib.sha256(self.path.read_bytes()).hexdigest()

  @property
  def cache(self) -> pathlib.Path:
    """Where what is compiled for them is kept."""
    found = probes.cache_folder()
    found.mkdir(parents=True, exist_ok=True)
    return found

  def has_late(self, stage: str) -> bool:
    """Whether the late parameters of a stage's denoiser were trained: else they are not here."""
    late = self.cfg.denoiser.late
    return any(name.startswith(late) for name in self.nets[stage]['denoiser'].params)

  def networks(self, stage: str, names: Collection[str], mesh: jax.sharding.Mesh) -> dict[str, Net]:
    """Some of them on the devices of `mesh`. ValueError where their configuration makes others."""
    state = handed_on.abstract_state(self.cfg, stage, mesh)
    found = {}
    for name in names:
      like, net = state.nets[name].handed_on, self.nets[stage][name]
      # Late parameters that no stage had trained were left out: nothing reads them.
      nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), like)
      net = handed_on.completed(self.cfg, net, nothing)
      if problem := handed_on.misfit(net, like):
        raise ValueError(f'{self.where}: the {name} of stage {stage} is not whole: {problem}')
      found[name] = jax.tree.map(_placed, net, like)
    return found

  def say_what_is_not_done(self, lending, method: str) -> None:
    """ValueError where the file has not all that a method draws with."""
    if lacks := lending.lacks(lending.way(method)):
      raise ValueError(
        f'{self.where}: {method} cannot be drawn from these weights, for want of '
        f'{" and ".join(lacks)}; {", ".join(lending.methods)} can'
      )


def _placed(leaf, like):
  """Of the same dtype on the same devices as `like`."""
  return jax.device_put(jnp.asarray(leaf, like.dtype), like.sharding)


def shipped() -> dict[str, pathlib.Path]:
  """The files that come with the package, by name."""
  return {path.stem: path for path in sorted(_FOLDER.glob(f'*{SUFFIX}'))}


def contents(weights: Weights) -> str:
  """The networks of each stage, in a line."""
  return ', '.join(f'{stage} ({", ".join(nets)})' for stage, nets in weights.nets.items())


def write(weights: Weights, path: pathlib.Path, dtype: str = 'float32') -> None:
  """Whole or not at all.

  Args:
    dtype: of `DTYPES`. Statistics that go with the weights stay as they are.

  Raises:
    ValueError: a weight is not finite in `dtype`, or that is none of `DTYPES`.
  """
  if dtype not in DTYPES:
    raise ValueError(f'dtype={dtype!r}: want {" or ".join(DTYPES)}')
  flat = flax.traverse_util.flatten_dict(
    {
      stage: {name: net.variables() for name, net in nets.items()}
      for stage, nets in weights.nets.items()
    },
    sep='/',
  )
  tensors = {}
  for name, leaf in flat.items():
    kept = np.asarray(leaf)
    if name.split('/')[2] == 'params':
      with np.errstate(over='ignore'):  # told below
        kept = kept.astype(dtype)
    if not np.isfinite(kept).all():
      raise ValueError(f'{name} is not finite in {dtype}: the weights are not to be published so')
    tensors[name] = np.ascontiguousarray(kept)
  header = {
    'format': FORMAT,
    'version': __version__,
    'config': settings.as_dict(weights.cfg),
    'about': dict(weights.about),
  }
  # One entry: of several, their order would differ from call to call.
  data = safetensors.numpy.save(tensors, {_ENTRY: json.dumps(header, allow_nan=False)})
  with atomic.replaced(path) as part:
    part.write_bytes(data)


def read(path: pathlib.Path) -> Weights:
  """What `write` wrote. Nothing in a file is run, and no module is imported for it.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is damaged, of another program or of a later version; or its networks come from a
      plugin that is not imported.
  """
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  try:
    with safetensors.safe_open(path, framework='np') as file:
      metadata = file.metadata() or {}
      names = file.keys()
      flat = {name: file.get_tensor(name) for name in names}
  except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
    raise ValueError(f'{path}: not a safetensors file, or a damaged one ({error})') from error
  header = _header(path, metadata)
  nested: dict = flax.traverse_util.unflatten_dict(
    {name: _float32(leaf) for name, leaf in flat.items()}, sep='/'
  )
  try:
    nets = {
      stage: {name: Net.of(variables) for name, variables in of_stage.items()}
      for stage, of_stage in nested.items()
    }
  except (AttributeError, KeyError, TypeError) as error:
    raise ValueError(f'{path}: its tensors are not named STAGE/NETWORK/params/...') from error
  cfg = settings.build(settings.Config, header['config'], defaults=base.get_config().to_dict())
  if strangers := nets.keys() - set(cfg.stages):
    raise ValueError(f'{path}: has stages that its configuration has not: {sorted(strangers)}')
  return Weights(cfg, nets, header['about'], path)


def _header(path, metadata):
  """Our entry of the header, checked."""
  if _ENTRY not in metadata:
    raise ValueError(f'{path}: weights of another program: there is no hgdt_jax in its header')
  try:
    header = json.loads(metadata[_ENTRY])
    found, plugins = int(header['format']), tuple(header['config'].get('plugins', ()))
    dict(header['about'])
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{path}: its header is damaged ({error!r})') from error
  if found > FORMAT:
    raise ValueError(
      f'{path}: has format {found}, of hgdt_jax {header.get("version")}; this version reads up to '
      f'{FORMAT}'
    )
  if missing := [name for name in plugins if name not in sys.modules]:
    raise ValueError(
      f'{path}: its networks come from the plugins {", ".join(missing)}, and a file of weights '
      'imports nothing: where you trust them, import them in Python first, then hgdt_jax.load'
    )
  return header


def _float32(leaf):
  return leaf.astype(np.float32) if leaf.dtype == np.float16 else leaf
