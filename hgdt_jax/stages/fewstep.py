"""Stage `fewstep`: the refiner learns to take few, long steps. No teacher.

A long step from x_t to x_s has many right answers, of which a squared error keeps the mean. So the
step is drawn from the posterior of the predicted clip and judged by critics that see x_s beside
x_t, against the same step with the real clip in it (denoising diffusion GAN, Xiao et al. 2022).
Steps are those of walks from tau with 1 to `fewstep.walk` steps, so one network serves them all.
"""

import jax
import jax.numpy as jnp

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.diffusion.parameterization import denoise_fn
from hgdt_jax.stages import adversarial, aligner, batches, denoising, networks
from hgdt_jax.state import Net, TrainState

TRAINS = ('denoiser', 'bridge')


def init(cfg: Config, key: jax.Array) -> TrainState:
  denoiser_tx, critic_tx = _optimisers(cfg)
  critic = networks.init_step_critic(cfg, rng.stream(key, 'critic'))
  return TrainState.create(
    denoiser=Net.create(networks.init_denoiser(cfg, rng.stream(key, 'denoiser')), denoiser_tx),
    bridge=Net(params=networks.init_bridge(cfg, rng.stream(key, 'bridge'))),  # frozen
    # A step from an augmented clip would not lead to x_s of the plain one beside it.
    critic=adversarial.init_critic(
      cfg, critic, critic_tx, rng.stream(key, 'spectral'), augmented=False
    ),
  )


def make_step(cfg: Config):
  nets, schedule, noise = networks.make(cfg), denoising.schedule(cfg), denoising.frame_noise(cfg)
  denoiser_tx, critic_tx = _optimisers(cfg)

  def step(state, batch, root):
    video, label = batches.clips(batch), batches.labels(cfg, batch)
    b = len(video)
    key = lambda name: rng.stream(root, f'fewstep/{name}', state.step)
    told = aligner.conditions(cfg, nets, state.nets['bridge'].params, video, label, key('latents'))
    t, s = draw_steps(cfg, key('steps'), b)
    x_t = schedule.diffuse(video, noise(key('noise'), video.shape), t)

    def predict(params):
      def network(x, t):
        return nets.denoiser.apply({'params': params}, x, t, told(x, t), jnp.ones(b))

      return denoise_fn(network, denoising.prediction(cfg), schedule)(x_t, t)

    def seen(name):
      fresh = noise(key(name), video.shape)
      return lambda x0: jnp.concatenate([schedule.posterior(x_t, x0, t, s, fresh), x_t], axis=-1)

    def paired(x0):  # x_t was made of this very clip: a regression that is well posed
      return cfg.fewstep.denoising_weight * jnp.mean(jnp.square(x0 - video))

    denoiser, critic, _, metrics = adversarial.play(
      cfg,
      nets.critic,
      state.nets['denoiser'],
      state.nets['critic'],
      draw=predict,
      see_real=seen('real'),
      see_fake=seen('fake'),
      also=paired,
      real=video,
      label=label,
      t=s,
      frames=adversarial.draw_frames(cfg, key('frames')),
      key=key,
      generator_tx=denoiser_tx,
      critic_tx=critic_tx,
      decay=cfg.fewstep.ema_decay,
    )
    metrics = {f'fewstep/{name}': value for name, value in metrics.items()}
    trained = {'denoiser': denoiser, 'bridge': state.nets['bridge'], 'critic': critic}
    return TrainState(state.step + 1, trained), metrics

  return step


def draw_steps(cfg: Config, key: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """(t, s) `[B]` of one step each: of a walk from tau of n steps, n from 1 to `walk`, the k-th."""
  walk_key, step_key = jax.random.split(key)
  n = jax.random.randint(walk_key, (batch,), 1, cfg.fewstep.walk + 1)
  k = jnp.floor(n * jax.random.uniform(step_key, (batch,)))  # 0 is the last
  return cfg.hybrid.tau * (k + 1) / n, cfg.hybrid.tau * k / n


def _optimisers(cfg):
  """Of the denoiser, which comes trained, and of the critic, which does not."""
  stage = cfg.fewstep
  denoiser = adversarial.optimiser(stage.learning_rate, stage.steps // 5, stage.steps)
  return denoiser, adversarial.optimiser(stage.critic_learning_rate, 0, stage.steps)
