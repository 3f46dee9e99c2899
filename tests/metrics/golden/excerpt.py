"""Takes from a folder of golden values what the tests here read; see README.md.

  python tests/metrics/golden/excerpt.py FOLDER

FOLDER holds the arrays and `golden.json` as they were made by the reference implementations.
"""

import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
_LENGTHS = (9, 10, 13, 16, 24, 32, 40)
_ROWS = 2  # of features that are compared one by one
_ARRAYS = {  # file: {array: how many of its rows}, None for all
  'i3d_bn_stats': None,
  'i3d_golden': dict.fromkeys(
    [f'logits_{name}' for name in ('A', 'B', 'W1', 'W2', *(f'T{n}' for n in _LENGTHS))]
  )
  | {'pool_A': _ROWS},
  'inception_bn_stats': None,
  'inception_golden': dict.fromkeys(
    [f'{resize}_F{s}_2048' for resize in ('tf1resize', 'pytorchfid') for s in 'AB']
  )
  | {f'{resize}_K320_2048': _ROWS for resize in ('tf1resize', 'pytorchfid', 'torchmetrics_aa')}
  | {'tf1resize_K320_logits_unbiased': _ROWS},
  'lpips_golden': dict.fromkeys(
    f'{net}__{name}'
    for net in ('alex', 'vgg')
    for name in (*(f'lin{i}' for i in range(5)), 'A0_B0')
  ),
  'psnr_ssim_golden': dict.fromkeys(
    f'{name}__{metric}'
    for name in ('jitter', 'noise')
    for metric in ('psnr_skimage', 'ssim_skimage_gauss_wang', 'ssim_skimage_default7')
  ),
  'tf_golden': dict.fromkeys(('legacy_row_A000', 'halfpixel_row_A000')),
  'acd_golden': dict.fromkeys(
    ('embed_raw', 'acd_pairwise', 'acd_i_excl_first', 'acd_i_incl_first', 'acd_color_pairwise')
  ),
}
_SCALARS = (
  'versions', 'torch_to_tfhub_names', 'fvd_seeded', 'inception_seeded', 'lpips_seeded', 'frechet',
  'inception_score', 'psnr_ssim',
)  # fmt: skip


def main(source: pathlib.Path) -> None:
  for name, wanted in _ARRAYS.items():
    with np.load(source / f'{name}.npz', allow_pickle=False) as archive:
      wanted = wanted if wanted is not None else dict.fromkeys(archive.files)
      arrays = {key: archive[key][:rows] for key, rows in wanted.items()}
      if name == 'acd_golden':
        arrays |= _without_faces(archive['embed_raw'], archive['crops'])
    np.savez_compressed(HERE / f'{name}.npz', **arrays)
  scalars = json.loads((source / 'golden.json').read_text())
  scalars = {key: scalars[key] for key in _SCALARS}
  (HERE / 'golden.json').write_text(json.dumps(scalars, indent=1) + '\n')


def _without_faces(embeddings, crops):
  """Mean colours, and embeddings turned at random: as far from each other, and nobody's."""
  rotation, _ = np.linalg.qr(np.random.default_rng().normal(size=2 * embeddings.shape[-1:]))
  return {
    'embed_raw': (embeddings.astype(np.float64) @ rotation).astype(np.float32),
    'colours': crops.mean(axis=(2, 3), dtype=np.float64) / 255,
  }


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
