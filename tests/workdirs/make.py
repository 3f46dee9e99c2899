"""Trains the smallest run there is, two stages of one step each, and packs its workdir."""

import pathlib
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

import conftest  # noqa: E402

from hgdt_jax import run  # noqa: E402


def main(out):
  given = conftest._smallest()
  for stage in given['stages']:
    given[stage]['steps'] = 1
  given['stages'] = ('gan', 'diffusion')
  given['checkpoint'] = dict(every=1, keep=1)
  given['evaluation']['checks'] = 0
  run._evaluate = lambda *_: []
  run.report.build = lambda workdir: workdir
  with tempfile.TemporaryDirectory() as folder, tarfile.open(out, 'w:xz') as archive:
    workdir = pathlib.Path(folder) / 'run'
    run.main(given, workdir)
    for name in ('config.json', 'checkpoints'):
      archive.add(workdir / name, name)


if __name__ == '__main__':
  main(sys.argv[1])
