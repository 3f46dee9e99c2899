"""Where trained networks come from: the workdir of a run, or weights taken away from one."""

import os
import pathlib
from collections.abc import Collection

import jax

from hgdt_jax import handed_on, weights
from hgdt_jax import workdir as workdirs
from hgdt_jax.state import Net


class Run:
  """A workdir, at any moment of its run. Raises as `workdir.read_config` and `refuse_stale`.

  Attributes:
    cfg: its configuration.
    workdir: where it is; also where what is compiled for it is kept.
    lent: the networks that each stage hands on whose last step is saved.
  """

  def __init__(self, workdir: pathlib.Path):
    self.workdir = self.cache = workdir
    self.cfg = workdirs.read_config(workdir)
    workdirs.refuse_stale(self.cfg, workdir)
    done = [stage for stage in self.cfg.stages if workdirs.is_done(self.cfg, workdir, stage)]
    self.lent = {stage: self._networks_of(stage) for stage in done}

  @property
  def where(self) -> str:
    """For messages."""
    return str(self.workdir)

  @property
  def identity(self) -> str:
    """Configuration and steps say it all: the same run twice ends with the same weights."""
    return ''

  def has_late(self, stage: str) -> bool:
    """Whether the late parameters of a stage's denoiser were trained, here or where it began."""
    stages = self.cfg.stages[: self.cfg.stages.index(stage) + 1]
    return 'aligner' in stages or bool(self.cfg.init_from)

  def networks(self, stage: str, names: Collection[str], mesh: jax.sharding.Mesh) -> dict[str, Net]:
    """Raises as `handed_on.weights`."""
    return handed_on.weights(self.workdir, self.cfg, stage, mesh, names)

  def say_what_is_not_done(self, lending, method: str) -> None:
    """As `Lending.say_what_is_not_done`."""
    lending.say_what_is_not_done(method, self.workdir)

  def _networks_of(self, stage):
    # Before format 3 the bridge knew no noise level.
    useless = {'bridge'} if workdirs.format_of(self.workdir) < 3 else set()
    return self.cfg.networks_of(stage) - useless


Donor = Run | weights.Weights


def find(source: str | os.PathLike) -> Donor:
  """What is meant by a name of shipped weights, the path of a file of weights, or a workdir's.

  Raises:
    FileNotFoundError: there is nothing of that name.
    ValueError: what is there is damaged, or a stage of the run is to be trained anew.
  """
  path = pathlib.Path(source).expanduser()
  shipped = weights.shipped()
  if str(source) in shipped and not path.exists():
    return weights.read(shipped[str(source)])
  if path.suffix == weights.SUFFIX:
    return weights.read(path)
  if not path.exists():
    raise FileNotFoundError(
      f'{path}: no such workdir of a run, nor file of weights; shipped ones: {", ".join(shipped)}'
    )
  return Run(path)
