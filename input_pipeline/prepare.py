"""Decodes a source once, in parallel, into shards that training reads at the disk's speed.

  python -m input_pipeline.prepare --source=folder --path=CLIPS --out=DIR --size=64 --frames=16
  python -m hgdt_jax.main --config.data.source=arrayrecord --config.data.path=DIR ...

If it is stopped, the same command goes on with the shards that are missing. What `--out` holds at
the end is described in `input_pipeline/arrayrecord.py`.
"""

import argparse
import collections
import concurrent.futures
import csv
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import pathlib
import sys

from tqdm import tqdm

from input_pipeline import arrayrecord, census, rejected, tables
from input_pipeline.clip import BadClip
from input_pipeline.pipeline import SOURCES, make_source

_OPTIONS = {  # passed on to the source if given
  'stride': (int, 'every how many frames of a file'),
  'fps': (float, 'target frames per second, instead of stride'),
  'windows': (int, 'clips a file gives; 0: as many as fit half overlapping'),
  'short': (str, 'files too short: drop, loop or pad'),
  'test_share': (float, 'share of the test split, where the source has none of its own'),
  'split_seed': (int, 'seed of that split'),
  'labels': (str, 'list of clips: CSV with path, label, split, group; of UCF-101; of Kinetics'),
  'npy_order': (str, 'axes of npy files: THWC, or TNHW (Moving MNIST), NTHW, NTHWC of many clips'),
  'max_bad': (float, 'stop if more than this share of the files is bad'),
  'count': (int, 'clips of the synthetic source'),
  'data_dir': (str, 'where tfds keeps its sets'),
  'key': (str, 'name of the video in a tfds set'),
  'train_split': (str, 'tfds split for training, as train[:90%%]'),
  'test_split': (str, 'and for testing'),
}


def main(arguments=None) -> int:
  """Runs the command line; returns the exit code."""
  try:
    args = _parse(arguments)
  except ImportError as e:
    print(f'prepare: --plugins: {e}', file=sys.stderr)
    return 1
  options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
  options |= {name: getattr(args, name) for name in ('path', 'frames', 'size', 'seed')}
  written = {'shard_clips': args.shard_clips, 'workers': args.workers}
  try:
    prepare_source(args.source, args.out, args.splits.split(','), options, **written)
  except (ValueError, OSError) as e:
    print(f'prepare: {e}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('prepare: stopped; the same command goes on from here', file=sys.stderr)
    return 1
  return 0


def prepare_source(source, out, splits, options, **written) -> dict:
  """`prepare` of a source that is named, which says what it found and what came of it.

  Args:
    options: as `make_source` takes them.
    **written: as `prepare` takes them.

  Raises:
    ValueError, OSError: the source holds nothing that can be used, or `out` something else.
  """
  out = pathlib.Path(out).expanduser()
  if 'rejected_csv' in SOURCES[source].options:
    options = options | {'rejected_csv': str(out / 'rejected.csv')}
  sources = {split: make_source(source, split=split, **options) for split in splits}
  if told := census.of_sources(sources.values()):
    print(told, flush=True)
  counts = prepare(sources, out, **written)
  left_out = len(rejected.read(out / 'rejected.csv'))
  print(', '.join(f'{n} clips in {split}' for split, n in counts.items()), end='; ')
  print(f'{left_out} files left out (see rejected.csv)' if left_out else 'no file left out')
  return counts


def prepare(sources, out, *, shard_clips=256, workers=0) -> dict:
  """Writes every clip of `sources` (split -> source) to the folder `out`; see `arrayrecord`.

  Returns how many clips each split got. Clips that cannot be read are left out. Shards that an
  earlier call with the same arguments finished are kept; those of other arguments are an error.
  """
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  plan = {
    'version': arrayrecord.VERSION,
    'shard_clips': shard_clips,
    'sources': {split: source.fingerprint for split, source in sources.items()},
  }
  if _is_done(out, plan):
    about = arrayrecord.read_about(out / 'prepared.json')
    return {split: part['clips'] for split, part in about['splits'].items()}
  shards = [
    _Shard(split, k, -(-len(source) // shard_clips), range(len(source))[first:][:shard_clips])
    for split, source in sources.items()
    for k, first in enumerate(range(0, len(source), shard_clips))
  ]
  _write_missing(sources, out, shards, workers)
  return _finish(sources, out, shards, plan)


class _Shard(collections.namedtuple('_Shard', 'split number total records')):
  @property
  def name(self):
    return f'{self.split}-{self.number:05d}-of-{self.total:05d}.array_record'

  def part(self, out):
    """Its rows of the index; written last, so its presence says that the shard is whole."""
    return out / f'{self.name}.json'


def _is_done(out, plan):
  """Whether `out` is prepared as planned; raises ValueError if it holds another set."""
  path = out / 'plan.json'
  if path.exists():
    old = tables.read_json(path, 'use another --out')
    if not isinstance(old, dict):
      raise ValueError(f'{path}: not the plan of a set; use another --out')
    if old != plan:
      differ = ', '.join(
        f'{key}: {old.get(key)} there, {plan[key]} now' for key in plan if old.get(key) != plan[key]
      )
      raise ValueError(f'{out} holds a set prepared otherwise ({differ}); use another --out')
  elif any(out.glob('*.array_record')):
    raise ValueError(f'{out} holds shards but no plan.json; use another --out')
  _write_json(path, plan)
  return (out / 'prepared.json').exists()


def _write_missing(sources, out, shards, workers):
  missing = [shard for shard in shards if not shard.part(out).exists()]
  done = sum(len(s.records) for s in shards) - sum(len(s.records) for s in missing)
  with tqdm(total=sum(len(s.records) for s in shards), initial=done, unit='clip') as bar:
    for shard in _written(sources, out, missing, workers):
      bar.update(len(shard.records))


def _written(sources, out, shards, workers):
  """Writes shards in this process or in `workers` others; yields each when it is whole."""
  if not workers:
    _keep(sources, out)
    for shard in shards:
      _write(shard)
      yield shard
    return
  spawn = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    min(workers, max(1, len(shards))), spawn, initializer=_keep, initargs=(sources, out)
  ) as pool:
    futures = {pool.submit(_write, shard): shard for shard in shards}
    try:
      for future in concurrent.futures.as_completed(futures):
        future.result()
        yield futures[future]
    except BaseException:
      pool.shutdown(wait=True, cancel_futures=True)
      raise


_kept = {}  # sources are sent to a worker process once, not with every shard


def _keep(sources, out):
  _kept.update(sources=sources, out=out)


def _write(shard):
  """Decodes one shard. All or nothing, whenever the process is killed."""
  source, out = _kept['sources'][shard.split], _kept['out']
  origin = getattr(source, 'origin', lambda i: {'file': '', 'start': 0, 'fps': 0})
  rows = []

  def clips():
    for i in shard.records:
      try:
        item = source[i]
      except BadClip:
        continue  # the source has put it on the list of what is left out
      label = source.classes[int(item['label'])]
      digest = hashlib.sha256(item['video'].tobytes()).hexdigest()
      shape = list(item['video'].shape)
      rows.append({**origin(i), 'label': label, 'sha256': digest, 'shape': shape})
      yield item['video']

  arrayrecord.write_shard(out / shard.name, clips())
  _write_json(shard.part(out), rows)


def _finish(sources, out, shards, plan):
  """Joins the shards' rows into the index and, last of all, writes prepared.json."""
  parts = {shard: _rows_of(shard.part(out)) for shard in shards}
  rows = list(itertools.chain(*parts.values()))
  if not rows:
    raise ValueError(f'no clip could be read; see {out / "rejected.csv"}')
  splits, lines = {}, []
  for split, source in sources.items():
    own = [shard for shard in shards if shard.split == split]
    number = itertools.count()
    lines += [(split, next(number), row) for shard in own for row in parts[shard]]
    names = [shard.name for shard in own if parts[shard]]
    clips = sum(len(parts[shard]) for shard in own)
    splits[split] = {'shards': names, 'clips': clips, 'timing': source.timing}
  _write_index(out / 'index.csv', lines)
  digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
  about = {
    'version': arrayrecord.VERSION,
    'shape': rows[0]['shape'],
    'classes': list(next(iter(sources.values())).classes),
    'splits': splits,
    'fingerprint': f'prepared-1 clips={len(rows)} plan={digest}',
  }
  if told := census.of_sources(sources.values()):
    about['census'] = told.record
  _write_json(out / 'prepared.json', about)
  for shard in shards:
    shard.part(out).unlink()
  return {split: part['clips'] for split, part in splits.items()}


def _rows_of(part):
  mend = 'remove it, and the shard is made anew'
  rows = tables.read_json(part, mend)
  if not isinstance(rows, list) or not all(
    isinstance(row, dict) and {'label', 'sha256', 'shape'} <= row.keys() for row in rows
  ):
    raise ValueError(f'{part}: not the rows of a shard; {mend}')
  return rows


def _write_index(path, lines):
  partial = path.with_name(f'{path.name}.partial')
  with partial.open('w', encoding='utf-8', errors='surrogateescape', newline='') as file:
    writer = csv.DictWriter(file, arrayrecord.COLUMNS, extrasaction='ignore')
    writer.writeheader()
    for split, number, row in lines:
      writer.writerow({'split': split, 'id': number, **row})
  partial.replace(path)


def _write_json(path, content):
  partial = path.with_name(f'{path.name}.partial')
  partial.write_text(json.dumps(content, indent=1), encoding='utf-8')
  partial.replace(path)


def _parse(arguments):
  """Raises ImportError for a plugin that is not there."""
  first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  first.add_argument(
    '--plugins', default='', help='modules that register sources, separated by commas'
  )
  for name in filter(None, first.parse_known_args(arguments)[0].plugins.split(',')):
    importlib.import_module(name)
  parser = argparse.ArgumentParser(
    'python -m input_pipeline.prepare', description=__doc__, parents=[first]
  )
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument('--source', required=True, choices=[s for s in SOURCES if s != 'arrayrecord'])
  parser.add_argument('--path', default='', help='folder of clips, or name of a tfds set')
  parser.add_argument('--out', required=True, help='folder to write')
  parser.add_argument('--size', type=int, required=True, help='pixels, of the square clips')
  parser.add_argument('--frames', type=int, required=True)
  parser.add_argument('--splits', default='train,test')
  parser.add_argument('--seed', type=int, default=0, help='of the synthetic source')
  parser.add_argument(
    '--workers', type=int, default=os.cpu_count(), help='processes (0: none but this)'
  )
  parser.add_argument('--shard_clips', type=int, default=256)
  for name, (kind, text) in _OPTIONS.items():
    parser.add_argument(f'--{name}', type=kind, help=text)
  return parser.parse_args(arguments)


if __name__ == '__main__':
  sys.exit(main())
