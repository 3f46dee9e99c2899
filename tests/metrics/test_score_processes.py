"""Two JAX processes share the work and get the scores of one."""

import json
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from hgdt_jax.metrics import clip_sets, score, statistics_cache

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ['frechet_random_conv3d', 'recall_random_conv3d', 'motion_ratio', 'psnr']
WORKER = """
import json, sys
import jax
import numpy as np
jax.config.update('jax_platforms', 'cpu')
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from hgdt_jax.metrics import clip_sets, score
clips = np.load(sys.argv[3])
sets = [clip_sets.ArrayClips(clips[key], batch=3) for key in ('real', 'fake')]
scores = score.score_sets(*sets, sys.argv[4].split(','), pairs=clip_sets.Pairs(*sets), shared=True)
print(json.dumps({name: one.value for name, one in scores.items()}))
"""


@pytest.mark.parametrize('clips', [7, 3])  # 3: one batch, so that one process measures nothing
def test_two_processes_equal_one(make_clips, tmp_path, clips):
  real, fake = make_clips(max(clips, 4), 1)[:clips], make_clips(max(clips, 4), 2)[:clips]
  names = NAMES if clips > 3 else ['frechet_random_conv3d', 'psnr']
  np.savez(tmp_path / 'clips.npz', real=real, fake=fake)
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  arguments = [address, None, str(tmp_path / 'clips.npz'), ','.join(names)]
  workers = []
  for index in range(2):
    arguments[1] = str(index)
    command = [sys.executable, '-c', WORKER, *arguments]
    workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
  printed = [json.loads(worker.communicate(timeout=300)[0].splitlines()[-1]) for worker in workers]
  assert printed[0] == printed[1]
  want = score.score_clips(real, fake, names)
  for name in names:
    assert printed[0][name] == pytest.approx(want[name].value, rel=1e-5), name


def test_no_cache_between_processes(make_clips, tmp_path):
  clips = clip_sets.ArrayClips(make_clips(4, 1))
  with pytest.raises(ValueError, match='cannot use a cache'):
    kept = statistics_cache.Folder(tmp_path)
    score.score_sets(clips, clips, ['motion_ratio'], cache=kept, shared=True)
