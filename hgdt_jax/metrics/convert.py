"""Converts published weights of a metric's network into the one `.npz` that `evaluate` reads.

  python -m hgdt_jax.metrics.convert --network=i3d --source=FILE --out=DIR

writes DIR/i3d.npz. LPIPS from torchvision takes two files, the backbone and the heads:
--source=alexnet-owt-7be5be79.pth,alex.pth
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from hgdt_jax.metrics import networks
from hgdt_jax.metrics.networks import names, npz, published, readers, weights


def convert(
  network: str, sources: Sequence[str | pathlib.Path], out: str | pathlib.Path
) -> pathlib.Path:
  """Writes and returns `out/NETWORK.npz`; warns loudly where a source is not a known file.

  Raises:
    FileNotFoundError, ValueError: see `readers.read`, `names.flat` and `parameters.fit`.
  """
  arrays, origins = {}, []
  for source in sources:
    file = readers.read(source)
    arrays |= file.arrays
    unknown = f'{published.UNKNOWN} {pathlib.Path(source).name} ({file.sha256})'
    origins.append(file.upstream or unknown)
  arrays = names.flat(network, arrays)
  npz.check_finite(', '.join(map(str, sources)), arrays)
  networks.check(network, arrays)
  # Unknown files first: the text of the whole begins with what is wrong.
  origins.sort(key=lambda origin: not origin.startswith(published.UNKNOWN))
  found = weights.Weights(arrays, ' + '.join(origins))
  known = published.CONTENT[network].get(found.sha256)
  if known is None and found.source.startswith(published.UNKNOWN):
    logging.warning('UNKNOWN WEIGHTS: %s. Every score made with them says so.', found.source)
  path = pathlib.Path(out) / f'{network}.npz'
  path.parent.mkdir(parents=True, exist_ok=True)
  weights.save_npz(path, weights.Weights(arrays, known or found.source))
  return path


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; returns its exit code."""
  parser = argparse.ArgumentParser(
    'hgdt_jax.metrics.convert', description=__doc__, allow_abbrev=False,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )  # fmt: skip
  parser.add_argument('--network', required=True, choices=sorted(published.CONTENT))
  parser.add_argument('--source', required=True, help='file, or files joined by commas')
  parser.add_argument('--out', required=True, help='folder for NETWORK.npz')
  flags = parser.parse_args(arguments)
  try:
    path = convert(flags.network, flags.source.split(','), flags.out)
  except (ValueError, OSError) as error:
    print(error, file=sys.stderr)
    return 1
  found = weights.load_npz(path)
  print(f'{path}: {len(found.arrays)} arrays, content sha256 {found.sha256}, {found.source}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
