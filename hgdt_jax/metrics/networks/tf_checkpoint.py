"""The I3D checkpoint of TensorFlow, read by its byte layout: no TensorFlow needed.

`model.ckpt.data-00000-of-00001` is the float32 tensors of the graph, one after the other in the
order of their names. TF-Hub's `deepmind/i3d-kinetics-400/1` and deepmind/kinetics-i3d
`data/checkpoints/rgb_scratch` are this file, byte for byte. Each tensor is checked against the
masked crc32c that the checkpoint's index holds for it.
"""

import functools
import math
import pathlib

import flax
import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax.metrics.networks import crc32c, i3d

TOTAL_BYTES = 50_818_176


def read(path: pathlib.Path, data: bytes) -> dict[str, np.ndarray]:
  """The arrays in the flat form of `weights`; `data` is what the file `path` holds.

  Raises:
    ValueError: another size, or a tensor whose checksum is wrong.
  """
  if len(data) != TOTAL_BYTES:
    raise ValueError(
      f'{path}: {len(data)} bytes, the I3D checkpoint has {TOTAL_BYTES}; get it anew'
    )
  arrays, offset = {}, 0
  for (name, shape), crc in zip(layout(), _crcs()):
    size = 4 * math.prod(shape)
    tensor, offset = data[offset : offset + size], offset + size
    if crc32c.masked(tensor) != crc:
      wrong = f'{name} is damaged (crc32c {crc32c.masked(tensor):08x})'
      raise ValueError(f'{path}: {wrong}; get it anew')
    arrays[name] = np.frombuffer(tensor, '<f4').reshape(shape)
  return arrays


def recognise(published: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Those of `published` (torch layout, any names) that are tensors of this checkpoint.

  Ports keep the published numbers but not the names, and a tensor's checksum tells which it is.
  """
  known = {crc: (name, shape) for (name, shape), crc in zip(layout(), _crcs())}
  arrays = {}
  for array in published.values():
    array = np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim == 5 else array
    name, shape = known.get(crc32c.masked(np.ascontiguousarray(array, '<f4').tobytes()), (None, ()))
    if name:
      arrays[name] = array.reshape(shape)
  return arrays


@functools.cache
def layout() -> tuple[tuple[str, tuple[int, ...]], ...]:
  """(name, shape) of each tensor, in the order of the file."""
  clip = jax.ShapeDtypeStruct((1, i3d.FEWEST_FRAMES, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(i3d.InceptionI3d().init, jax.random.key(0), clip)['params']
  entries = []
  for name, leaf in sorted(flax.traverse_util.flatten_dict(shapes, sep='/').items()):
    path, _, kind = name.rpartition('/')
    if kind == 'bias' and path != 'Logits':  # three vectors of a normalisation in place of it
      entries += [(f'{path}/{statistic}', leaf.shape) for statistic in ('beta', 'mean', 'var')]
    else:
      entries.append((name, leaf.shape))
  return tuple(entries)


def _crcs() -> list[int]:
  return [int(_CRC32C[i : i + 8], 16) for i in range(0, len(_CRC32C), 8)]


# fmt: off
_CRC32C = (  # eight digits a tensor, in the order of the file
  '8504fb7b759a027991b9647f3c1e560ed358400a93c5bb1dde23a785394cbdb473fbf9a16415090881a04797'
  '0adb50a720c0d2f5b0f136141b7e1b6c3baa0f814d5a3d875f7f81e66c79185495e45fb4586e7a9f658156ba'
  'be73d979d64bd6aee722819cdf42f384ee9a2f52165c55be92aad7b30b0a045978084062028bdd2dc04db500'
  '4c005ba2563fbbaa95778a5af6128287c7ecd5c57e14058e09819b8dd5b1e891def2f52d07557fb959640a35'
  '6be0cafb60cab42ab4cd791a3f6530efdbd0f94827795fdc9bee8c5a34ebe4ca728e4e8f2e355b47de6a6294'
  '7506a757d820126322ffd6d8d125e2b479b4b65750eb8d07d9e468a62ad8c49e1128481905ddad9f98214755'
  'd93f57075fff22ae9be78d248b00f45ec072ea03308185b52eb31576b9c494196f61bf26d28c675a01172141'
  'b4b2c50be84847fda3fa9f6696b0d6ba23ef70ebd8fc2218180cf2d7e0958aa21cb760a492ae4172bc7f9790'
  '43c599a489ea331c1dc5d4884869b9d30e43e36b2e128967a9efb3690171fd0eda105ee6593c851fddae9b88'
  'aff49dc62347bd7facd9b03574a1283ccf4a1f0a43781d0e65004bb0f00a3a3ed8a6ae0169635cb5b9eaa7f3'
  'a367d747586ea42587954bdc8f14527e84bfeb44431777ffe99d29096e5e6fba42954b0c404f0fc2f3031bc9'
  '017260be1679526debcc18c320b307b44fdddc5b92019425749588ccfa1f9788cfb56a06247bd2271ecd74d0'
  'ff564e8567ddf8e278d30cd8a056701293f0d085ccb60740bb9aec6243bf7d62afd479a1af312fbaf67f2a2e'
  'aa295e9e6b853ef999c502b59a5609ee874cc46e85130cc4c99988a7e7985ef9a85c933844504782fb4f4b5f'
  '644c0a44210d8f4cee3ae7844e2dcdd5ebda0e6df53a850985369ffce19af9e5b0b831e80c230776d8ec4b21'
  '2aaef01bb74adb8937fa5883f2aeb1b0b6a18fda0a99aedac4321ed368ac84e704455485fa418f27ee47a368'
  '71724b06f8cf127ed4d8da8eee4050927a8916b9e97c36b9f5b7317c4bbfa99b309e35b19f9f617faedda781'
  'c3489b87654deb2479166b0aebe3c17837b6c2ff999b502c21be26b7fbd22693b60bb8244cd4379a2d13f46b'
  '2cf1bc2f38d9b3fff8eb1942936b6d3cfd77d278c8a07fca33c90bd6edb08ab936ebbb02b4c5e625f5e18902'
  'c2bf422595957aacb7152a9e11473e05ba0dff9c27999c704fd9a812deb14969da7e216e3b18ab5d1755ca10'
  '981324ae78744765baf42000eb6c7473262986ab7c94ca53b70b744075c43193473a944cfe78bf0d'
)
# fmt: on
