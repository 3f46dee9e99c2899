"""What the aligners of a trained denoiser make of clips: where they look, how far they use it."""

import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax import pixels
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.stages import denoising
from hgdt_jax.trained import Trained


def of_clips(
  trained: Trained,
  video: np.ndarray,
  label: np.ndarray,
  t: float,
  method: str = 'hybrid',
  seed: int = 0,
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Of clips diffused to a noise level, by each causal aligner, the coarsest map first.

  Args:
    video: uint8 `[N, T, H, W, C]`.
    label: `[N]`, -1: none.
    t: in [0, 1].
    method: whose denoiser.
    seed: of the noise.

  Returns:
    Pairs of the flow `[N, T-1, h, w, 2]`, in pixels of its map, (x, y) from a place to where it was
    in the frame before; and of the gate `[N, T-1, h, w]` in (0, 1), how far that is used.

  Raises:
    ValueError: no stage of the model has trained an aligner, or the method has none.
  """
  cfg, way = trained.cfg, trained.lending.way(method)
  if not (way.aligned and trained.lending.is_aligned(way)):
    raise ValueError(f'{method}: no aligner was trained for it, so there is no flow')
  net = trained.weights[trained.lending.lender('denoiser', way)]['denoiser']

  @jax.jit
  def program(variables, clip, label, level, mixing):
    noise = denoising.frame_noise(cfg)(jax.random.key(seed), clip.shape)
    noisy = denoising.schedule(cfg).diffuse(clip, noise, level)
    told = Condition.plain(label, clip.shape[1], cfg.draft.latent_size)
    told = told.replace(align=jnp.ones(len(clip)))
    return trained.drawing.networks.denoiser.apply(variables, noisy, level, told, mixing).flows

  count = len(video)
  clip, label = jnp.asarray(pixels.to_clip(video)), jnp.asarray(label, jnp.int32)
  mixing = jnp.full(count, float(way.mixing))
  found = program(net.variables(), clip, label, jnp.full(count, t), mixing)
  causal = [flow for flow in found if not flow.backward]
  return [(np.asarray(flow.field), np.asarray(flow.visible)[..., 0]) for flow in causal]
