"""`.npz` files of strangers: each header is checked against its bytes before memory is taken."""

import io
import math
import zipfile

import numpy as np

START = 64  # bytes by which a file is known for what it is
MAX_BYTES = 2**31  # of all arrays; four times those of VGG16, the largest network


def check_start(name: str, start: bytes) -> None:
  """ValueError where a file of weights begins, in its first `START` bytes, as one that is not."""
  if not start:
    raise ValueError(f'{name}: empty file; get it anew')
  text = start.removeprefix(b'\xef\xbb\xbf').lstrip()
  if any(byte < 32 and byte not in b'\t\r\n\f' for byte in text):  # as every kind of weights has
    return
  kinds = {b'<': 'a web page', b'version https://git-lfs': 'a Git LFS pointer', b'{': 'a message'}
  for begin, kind in kinds.items():
    if text.startswith(begin):
      raise ValueError(f'{name}: {kind}, no weights; get the file itself')


def check_finite(name: str, arrays: dict[str, np.ndarray]) -> None:
  """ValueError where a number is NaN or infinite: no published network has one."""
  for key, array in arrays.items():
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
      raise ValueError(f'{name}: {key} holds NaN or infinity: damaged; get it anew')


def read(name: str, file: io.BufferedIOBase) -> dict[str, np.ndarray]:
  """The arrays of an open `.npz`; `name` is what errors call it.

  Raises:
    ValueError: damaged, too large, or an array of Python objects, which would have to be unpickled.
  """
  try:
    with zipfile.ZipFile(file) as archive:
      check_total(archive)
      return {
        member.filename.removesuffix('.npy'): _array(archive, member)
        for member in archive.infolist()
      }
  except Exception as error:  # zip and deflate raise anything on damaged bytes
    reason = ' '.join(str(error).split())[:150] or type(error).__name__
    raise ValueError(f'{name}: not an npz file that can be read ({reason}); get it anew') from error


def check_total(archive: zipfile.ZipFile) -> None:
  """ValueError where the members, inflated, are more than MAX_BYTES."""
  if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
    raise ValueError(f'more than {MAX_BYTES} bytes of arrays')


def _array(archive, member):
  if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(f'{member.filename} is compressed otherwise than numpy does')
  with archive.open(member) as file:
    version = np.lib.format.read_magic(file)
    header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, columns_first, dtype = header(file)
    if dtype.hasobject:
      raise ValueError(f'{member.filename} holds Python objects')
    size = math.prod(shape) * dtype.itemsize
    if size > member.file_size:
      raise ValueError(f'{member.filename}: {size} bytes promised, {member.file_size} there')
    content = bytearray(file.read())  # to the end, where the checksum is compared
  if len(content) != size:
    raise ValueError(f'{member.filename}: {size} bytes promised, {len(content)} there')
  return np.frombuffer(content, dtype).reshape(shape, order='F' if columns_first else 'C')
