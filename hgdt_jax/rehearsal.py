"""A recipe's steps, compiled for devices that nobody holds: what they would take of each."""

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import jax

from hgdt_jax import costs, handed_on, programs, settings, sharding

_COLUMNS = (
  'stage',
  'parameters',
  'state GiB',
  'temporaries GiB',
  'peak GiB',
  'TFLOP',
  'GB read and written',
  'ms a step, at least',
  'hours, at least',
  'between devices, MB',
  'compiled in s',
)


@dataclasses.dataclass(frozen=True)
class Chip:
  """What the maker says of one: GiB of memory, TFLOP/s in bfloat16, GB/s to its memory."""

  memory: float
  flops: float
  bandwidth: float


CHIPS = {  # by the name that jax knows the kind by
  'TPU v4': Chip(32, 275, 1228),
  'TPU v5 lite': Chip(16, 197, 819),
  'TPU v5': Chip(95, 459, 2765),
  'TPU v6 lite': Chip(32, 918, 1640),
}


@dataclasses.dataclass(frozen=True)
class Row:
  """A stage's step.

  Attributes:
    stage: its name.
    steps: of the recipe.
    parameters: of the networks it trains.
    beside: bytes on each device of what the stages before it hand on, which stays there.
    cost: of a step, on each device; None where it cannot be compiled for want of memory.
    excess: in that case, what the compiler says of it.
    compiled: seconds the compiler took.
  """

  stage: str
  steps: int
  parameters: int
  beside: int
  cost: costs.Cost | None
  excess: str
  compiled: float


def rows(
  cfg: settings.Config, stages: Sequence[str], devices: Sequence[jax.Device]
) -> Iterator[Row]:
  """One a stage, as each is compiled: minutes on one core.

  Raises:
    ValueError: the recipe has no such stage, or its batches do not divide over the devices; at
      once.
  """
  if missing := [stage for stage in stages if stage not in cfg.stages]:
    raise ValueError(f'{missing[0]}: no stage of the recipe, which has {", ".join(cfg.stages)}')
  cfg = _without_data(cfg)
  mesh = sharding.mesh_of_batch(cfg.mesh.data, cfg.mesh.fsdp, cfg.data.batch, devices)
  return (_row(cfg, stage, mesh) for stage in stages or cfg.stages)


def _without_data(cfg):
  """With numbers for what only the data decides, which change no program by much."""
  tau = 0.5 if cfg.hybrid.tau == settings.AUTO else cfg.hybrid.tau
  return dataclasses.replace(
    cfg,
    data=dataclasses.replace(cfg.data, classes=max(cfg.data.classes, 0)),
    hybrid=dataclasses.replace(cfg.hybrid, tau=tau),
  )


def _row(cfg, stage, mesh):
  state = handed_on.abstract_state(cfg, stage, mesh)
  trained = [net.params for net in state.nets.values() if net.opt_state]
  cost, excess, began = None, '', time.monotonic()
  try:
    cost = costs.of(programs.compiled(cfg, stage, mesh))
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    excess = str(error).partition('\n')[0]
  return Row(
    stage=stage,
    steps=getattr(cfg, stage).steps,
    parameters=sum(leaf.size for leaf in jax.tree.leaves(trained)),
    beside=_beside(cfg, stage, mesh),
    cost=cost,
    excess=excess,
    compiled=time.monotonic() - began,
  )


def _beside(cfg, stage, mesh):
  before = cfg.stages[: cfg.stages.index(stage)]
  states = [handed_on.abstract_state(cfg, one, mesh) for one in before]
  leaves = jax.tree.leaves([handed_on.of_state(state) for state in states])
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves
  )


def fits(row: Row, chip: Chip) -> bool:
  """Whether the step runs there, with what earlier stages handed on beside it."""
  return row.cost is not None and row.cost.peak + row.beside <= chip.memory * 2**30


def seconds(cost: costs.Cost, chip: Chip) -> float:
  """Of a step, at least: as the slower of arithmetic and memory allows (the roofline model)."""
  return max(cost.flops / (chip.flops * 1e12), cost.accessed / (chip.bandwidth * 1e9))


def head() -> str:
  """Of a table of rows, Markdown."""
  return '\n'.join([_line(_COLUMNS), _line(['---'] * len(_COLUMNS))])


def line(row: Row, chip: Chip) -> str:
  """One of that table."""
  cells = [row.stage, f'{row.parameters:,}']
  if cost := row.cost:
    least = seconds(cost, chip)
    kinds = [f'{one.count} {kind} {one.bytes / 1e6:.1f}' for kind, one in cost.collectives.items()]
    cells += [_gib(size) for size in (cost.arguments, cost.temporaries, cost.peak + row.beside)]
    cells += [f'{cost.flops / 1e12:.3f}', f'{cost.accessed / 1e9:.2f}']
    cells += [f'{1000 * least:.1f}', f'{least * row.steps / 3600:.2f}', ', '.join(kinds) or '-']
  else:
    cells += ['', '', 'does not fit', *[''] * 5]
  return _line([*cells, f'{row.compiled:.0f}'])


def _gib(count):
  return f'{count / 2**30:.2f}'


def _line(cells):
  return f'| {" | ".join(cells)} |'
