"""Average content distance: does the face (or the colour) stay the same through a clip?"""

import numpy as np
from jaxtyping import Float, Float64, UInt8


def acd(embeddings: Float[np.ndarray, 'n t d']) -> Float[np.ndarray, ' n']:
  """Mean distance over all pairs of a clip's frames (MoCoGAN 2018).

  L2, on unit-length face embeddings or on mean colours. ValueError with fewer than 2 frames.
  """
  _check(embeddings, 2)
  first, second = np.triu_indices(embeddings.shape[1], k=1)
  return np.linalg.norm(embeddings[:, first] - embeddings[:, second], axis=-1).mean(axis=-1)


def acd_to_input(
  embeddings: Float[np.ndarray, 'n t d'], inputs: Float[np.ndarray, '_ _']
) -> Float[np.ndarray, ' n']:
  """ACD-I: mean distance of a clip's frames to its input image, of which `inputs` has a row.

  As Zhao et al. 2018 (ECCV) score image-to-video: frame against *input*, not against the frame
  before. Every frame given counts: leave the first out where it is the input itself.
  """
  _check(embeddings, 1)
  if inputs.shape != (len(embeddings), embeddings.shape[2]):
    raise ValueError(f'{list(embeddings.shape)} embeddings do not fit {list(inputs.shape)} inputs')
  return np.linalg.norm(embeddings - inputs[:, None], axis=-1).mean(axis=-1)


def mean_colours(frames: UInt8[np.ndarray, 'n h w c']) -> Float64[np.ndarray, 'n c']:
  """Mean colour of each frame in [0, 1]; MoCoGAN's first ACD."""
  return np.asarray(frames).mean(axis=(1, 2), dtype=np.float64) / 255.0


def _check(embeddings, frames):
  if embeddings.ndim != 3 or embeddings.shape[1] < frames:
    raise ValueError(
      f'content distance needs embeddings [N, T >= {frames}, D], got {list(embeddings.shape)}'
    )
