"""What a compiled program will take of each device, as its compiler says."""

import dataclasses
import re

import jax

_KINDS = 'all-reduce|all-gather|reduce-scatter|all-to-all|ragged-all-to-all|collective-permute'
# `%name = SHAPE(S) KIND(%operand...`; of one in two halves, the first, which starts it.
_COLLECTIVE = re.compile(rf'= (?P<shapes>[^%]*?) (?P<kind>{_KINDS})(?P<start>-start)?\(')
_SHAPE = re.compile(r'\b(?P<type>pred|[a-z]+(?P<bits>\d+)[a-z0-9]*)\[(?P<sizes>[\d,]*)\]')


@dataclasses.dataclass(frozen=True)
class Collective:
  """Exchanges of one kind between devices, as they stand in the program."""

  count: int
  bytes: int


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of one run of a program, for each device.

  Attributes:
    arguments: bytes of what it is given; what it gives takes their place where they are donated.
    temporaries: bytes it needs besides.
    peak: bytes at most, its own code included.
    flops: operations on floating numbers.
    accessed: bytes read and written, by operations as they are fused.
    collectives: by kind; none on one device.
  """

  arguments: int
  temporaries: int
  peak: int
  flops: float
  accessed: float
  collectives: dict[str, Collective]


def of(program: jax.stages.Compiled) -> Cost:
  memory, analysis = program.memory_analysis(), program.cost_analysis()
  added = memory.output_size_in_bytes - memory.alias_size_in_bytes
  arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
  return Cost(
    arguments,
    temporaries,
    arguments + added + temporaries + memory.generated_code_size_in_bytes,
    analysis.get('flops', 0.0),
    analysis.get('bytes accessed', 0.0),
    collectives(program.as_text()),
  )


def collectives(text: str) -> dict[str, Collective]:
  """Those of a program in HLO's notation: the bytes are of what each gives a device."""
  found = {}
  for match in _COLLECTIVE.finditer(text):
    shapes = [shape for shape in _SHAPE.finditer(match['shapes']) if shape[0] != 'u32[]']
    if match['start'] and match['kind'] != 'all-reduce':
      shapes = shapes[len(shapes) // 2 :]  # what goes in comes first
    size = sum(map(_bytes, shapes))
    before = found.get(match['kind'], Collective(0, 0))
    found[match['kind']] = Collective(before.count + 1, before.bytes + size)
  return found


def _bytes(shape):
  count = 1
  for size in filter(None, shape['sizes'].split(',')):
    count *= int(size)
  return count * int(shape['bits'] or 8) // 8
