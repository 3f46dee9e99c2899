"""The hybrid, all four stages: `--config=configs/hybrid.py` or `configs/hybrid.py:PRESET`.

small      embedded synthetic clips, 8 frames of 32x32, 2 CPU cores, some minutes (default)
synthetic  the same for most of an hour: the weights that are shipped
bench      the small one with 16 frames, 2,048 held-out clips and I3D's features
gpu        64x64, 16 frames, bfloat16, one CUDA GPU
tpu        the same within hours of one TPU chip, as Colab lends: v5e-1
tpu_pod    the same, wider, for 256 chips
"""

from configs import base

PRESETS = ('small', 'synthetic', 'bench', 'gpu', 'tpu', 'tpu_pod')


def get_config(preset: str = 'small'):
  if preset not in PRESETS:
    raise ValueError(f'configs/hybrid.py:{preset}: no such preset; want {", ".join(PRESETS)}')
  config = base.get_config()
  if preset == 'small':
    return small(config)
  if preset == 'synthetic':
    return synthetic(config)
  if preset == 'bench':
    return bench(config)
  config.dtype = 'bfloat16'
  if preset in ('tpu', 'tpu_pod'):
    # With 32x32 maps too, a step of diffusion takes a third more of a chip's memory and time.
    config.denoiser.time_attention = 16
  if preset == 'tpu':
    config.data.batch = 16
    config.gan.steps = 20_000
    config.diffusion.steps = 20_000
    config.aligner.steps = 4000
    config.joint.steps = 4000
  if preset == 'tpu_pod':
    config.data.batch = 1024  # four rows a chip: draft.penalty_rows takes every fourth
    config.denoiser.width = 128  # fills the lanes of a chip, of which 64 leave half empty
  return config


def small(config):
  """Runs on anything."""
  # So short a run learns more from many small batches than from few large ones.
  config.data.update(frames=8, size=32, batch=4)
  config.checkpoint.update(every=400, keep=1)
  config.draft.generator.update(width=32, max_width=96)
  config.draft.generator.update(latent_size=64, content_size=32, motion_size=8)
  config.draft.critic.update(width=32, max_width=96, frames=2)
  config.denoiser.update(
    width=32, multipliers=(1, 2), blocks=1, space_attention=0, time_attention=8, aligner_radius=2.0
  )
  config.bridge.update(width=32, max_width=96)
  config.gan.update(steps=2100, learning_rate=1e-3, ema_decay=0.995)
  config.draft.update(r1=0.3, r2=0.3)
  config.diffusion.update(
    steps=1400, learning_rate=2e-3, warmup=40, ema_decay=0.99, low_noise_share=0.7, noise='mixed'
  )
  config.aligner.update(steps=100, learning_rate=2e-3)
  config.joint.update(
    steps=300,
    learning_rate=4e-4,
    critic_learning_rate=1e-3,
    denoiser_learning_rate=2e-4,
    refiner_rows=0,
  )
  config.fewstep.update(
    steps=200, learning_rate=2e-4, critic_learning_rate=1e-3, walk=3, ema_decay=0.99
  )
  config.hybrid.update(tau=0.4, steps=3)
  config.evaluation.update(
    clips=64, batch=16, flow_clips=8, taus=(0.2, 0.4, 0.6), evaluations=(2, 4, 8), checks=2
  )
  return config


def synthetic(config):
  """The small preset with time to learn: most of an hour."""
  config = small(config)
  config.gan.update(steps=7500, ema_decay=0.998)
  config.diffusion.update(steps=4500, ema_decay=0.998)
  config.aligner.update(steps=300)
  config.joint.update(steps=600)
  return config


def bench(config):
  """The small networks on clips long enough for I3D; one GPU, some minutes."""
  config = small(config)
  config.data.update(frames=16, batch=16, clips=4096)
  config.checkpoint.update(every=10_000)
  config.draft.critic.update(frames=4)
  config.denoiser.update(time_attention=16)
  config.gan.update(steps=2000)
  config.diffusion.update(steps=2000)
  config.aligner.update(steps=600)
  config.joint.update(steps=300, refiner_rows=2)
  config.evaluation.update(
    clips=2048, batch=128, checks=0, metrics=('fvd', 'kvd', 'sliced_wasserstein', 'recall')
  )
  return config
