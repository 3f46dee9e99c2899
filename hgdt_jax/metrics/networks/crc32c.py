"""CRC-32C (Castagnoli), as TensorFlow's files carry it, in numpy: many lanes at once."""

import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANES = 1024  # a power of two: lanes are joined in pairs


def masked(data: bytes) -> int:
  """The masked form of LevelDB and TensorFlow, which is safe to store beside the data."""
  crc = checksum(data)
  return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def checksum(data: bytes) -> int:
  """CRC-32C of `data`.

  The register is linear in the data, so that stretches can be run side by side from zero and
  joined: crc(ab) = zeros(crc(a), len(b)) ^ crc(b), where zeros() feeds zero bytes.
  """
  stretch = -(-len(data) // _LANES)
  rows = np.zeros(_LANES * stretch, np.uint8)  # zeros in front do not change a zero register
  rows[len(rows) - len(data) :] = np.frombuffer(data, np.uint8)
  state = np.zeros(_LANES, np.uint32)
  for column in rows.reshape(_LANES, stretch).T:
    state = _step(state, column)
  skip = _zeros(stretch)
  while len(state) > 1:
    state = _apply(skip, state[0::2]) ^ state[1::2]
    skip = _apply(skip, skip)
  start = _apply(_zeros(len(data)), np.array([0xFFFFFFFF], np.uint32))
  return int(state[0] ^ start[0]) ^ 0xFFFFFFFF


def _table() -> np.ndarray:
  table = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
  return table


_TABLE = _table()


def _step(state, byte):
  return _TABLE[(state ^ byte) & 255] ^ (state >> 8)


def _apply(operator, state):
  """The linear map whose value at 1 << i is operator[i]."""
  out = np.zeros_like(state)
  for bit in range(32):
    out ^= np.where((state >> bit) & 1, operator[bit], np.uint32(0))
  return out


def _zeros(count: int) -> np.ndarray:
  """The map that feeds `count` zero bytes, by repeated squaring."""
  unit = np.uint32(1) << np.arange(32, dtype=np.uint32)
  result, power = unit, _step(unit, 0)
  while count:
    if count & 1:
      result = _apply(power, result)
    power = _apply(power, power)
    count >>= 1
  return result
