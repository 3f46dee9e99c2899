"""One round of the adversarial game: a generator against any number of judges."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hgdt_jax.gans import augment, rows, spectral
from hgdt_jax.gans.types import Draft, Given, Judge, Streams
from hgdt_jax.losses import adversarial, temporal
from hgdt_jax.state import Net

_OWN = 'game'  # what the game keeps of a judge: a collection that no network knows
_LOSSES = ('d_loss', 'penalty', 'd_category')  # of a judge, which make up what it minimises
_RANDOM = ('noise', 'dropout')  # streams that a network may draw from in training


class Scene(NamedTuple):
  """What a round is played about; B clips.

  Attributes:
    real: clips `[B, T, H, W, C]`.
    label: `[B]`, -1: none.
    t: `[B]`, the noise level that judges are told.
    given: first frames that drafts continue, if any do.
    streams: random streams of this step.
    hide: `(which, clip)` -> what judges are shown of a 'real' or a 'fake' clip: diffused, perhaps.
  """

  real: jax.Array
  label: jax.Array
  t: jax.Array
  given: Given | None
  streams: Streams
  hide: Callable[[str, jax.Array], jax.Array]


class Augmentation(NamedTuple):
  """Of all that judges see.

  Attributes:
    probability: of each change to a clip, at first.
    target: mean sign of the scores of real clips at which the probability stays (ADA); None: it
      never moves.
  """

  probability: float
  target: float | None = None


def init_judge(
  judge: Judge, variables, tx, key: jax.Array, augmentation: Augmentation | None = None
) -> Net:
  """A judge before its first round; `variables` as its network's `init` gives them."""
  own = {}
  if judge.spectral_norm:
    own['spectral'] = spectral.init(variables['params'], key)
  if augmentation:
    own['augment'] = jnp.float32(augmentation.probability)
  return Net.create({**variables, **({_OWN: own} if own else {})}, tx, ema=False)


def probability(judge: Net) -> jax.Array | None:
  """Of each change to what a judge sees; None where it sees clips as they are."""
  return judge.kept.get(_OWN, {}).get('augment')


def rngs(streams: Streams, who: str) -> dict[str, jax.Array]:
  """What a network in training may draw from."""
  return {name: streams(f'{who}_{name}') for name in _RANDOM}


def play(
  judges: Mapping[str, Judge],
  nets: Mapping[str, Net],
  txs: Mapping[str, optax.GradientTransformation],
  scene: Scene,
  *,
  draw: Callable[[Any], tuple[Draft, Mapping]],
  decay: float | jax.Array,
  also: Mapping[str, Callable] | None = None,
  again: Callable[[int], jax.Array] | None = None,
  augmentation: Augmentation | None = None,
):
  """The judges move first, each for itself; then the generator answers them as they are now.

  The generator runs forward once: its draft is a constant to the judges, and the gradient of the
  answer is pulled back through the same pass.

  Args:
    judges: by name.
    nets: the 'generator' and the judges, by name.
    txs: their optimisers.
    draw: parameters of the generator -> (draft, what its network keeps after that pass).
    decay: of the generator's average.
    also: further losses of the draft, as `GAN.also`.
    again: `i` -> fake clips drawn anew, for a judge's i-th further move.
    augmentation: as `init_judge` was given it.

  Returns:
    the nets after the round, the draft, metrics.
  """

  def drawn(params):
    draft, kept = draw(params)
    return (draft.clip, draft.aux), (draft.latents, kept)

  generator, after, found = nets['generator'], {}, {}
  (clip, aux), pull_back, (latents, kept) = jax.vjp(drawn, generator.params, has_aux=True)
  seats = {name: _Seat(name, judge, scene, nets[name]) for name, judge in judges.items()}
  for name, seat in seats.items():
    after[name], found[name] = seat.move(nets[name], txs[name], clip)
    for i in range(1, seat.judge.updates):
      after[name], found[name] = seat.again(i).move(after[name], txs[name], again(i))

  def loss(seen):
    clip, aux = seen
    answers, told = zip(*(seat.answer(after[name], clip) for name, seat in seats.items()))
    told = [one for one in told if one is not None]
    drawn = Draft(clip, latents, aux)
    more = {name: term(drawn, scene.real, scene.given) for name, term in (also or {}).items()}
    return sum(answers) + sum(told) + sum(more.values()), (sum(answers), told, more)

  towards, (game, told, more) = jax.grad(loss, has_aux=True)((clip, aux))
  (grads,) = pull_back(towards)
  metrics = {
    'g_loss': game,
    'g_grad_norm': optax.tree.norm(grads),
    'motion_ratio': temporal.motion(clip) / temporal.motion(scene.real),
    'diversity': _spread(clip) / _spread(scene.real),
    **({'g_category': sum(told)} if told else {}),
    **{f'g_{name}': value for name, value in more.items()},
    **_of_all({name: one.metrics for name, one in found.items()}),
  }
  if augmentation and augmentation.target is not None:
    shown = clip.shape[0] * clip.shape[1]
    for name, one in found.items():
      after[name] = _adapted(after[name], one.sign, augmentation.target, shown)
  after['generator'] = generator.update(grads, txs['generator'], decay).replace(kept=kept)
  return after, Draft(clip, latents, aux), metrics


class _Found(NamedTuple):
  """What a judge found on its move: metrics, and its mean sign on real clips."""

  metrics: dict[str, jax.Array]
  sign: jax.Array


class _Seat:
  """A judge at one round; `net` is its network before it."""

  def __init__(self, name: str, judge: Judge, scene: Scene, net: Net):
    self.name, self.judge, self.scene, self._before = name, judge, scene, net
    self._objective, self._p = adversarial.OBJECTIVES[judge.objective], probability(net)
    self._real = self._shown('real', scene.real)

  def again(self, i):
    """For its i-th further move: it draws from streams of its own."""
    streams = lambda name: jax.random.fold_in(self.scene.streams(name), i)
    return _Seat(self.name, self.judge, self.scene._replace(streams=streams), self._before)

  def move(self, net, tx, fake):
    """The judge after an update against `fake` clips, and what it found before it."""
    real, fake = self._real, self._shown('fake', fake)
    if self.judge.spectral_norm:
      vectors = spectral.iterate(net.params, net.kept[_OWN]['spectral'])
      net = net.keep(**{_OWN: net.kept[_OWN] | {'spectral': vectors}})

    def loss(params):
      real_score, told, kept = self._score(net, params, 'real', real)
      fake_score, _, kept = self._score(net.replace(kept=kept), params, 'fake', fake)
      game = _sum(self._objective.critic, real_score, fake_score)
      losses = {'d_loss': game, 'penalty': self._penalty(net, params, real, fake)}
      if told is not None:
        losses['d_category'] = told
      return sum(losses.values()), (losses, real_score, fake_score, kept)

    grads, (losses, real_score, fake_score, kept) = jax.grad(loss, has_aux=True)(net.params)
    metrics = {
      **losses,
      'real_score': _mean(jnp.mean, real_score),
      'fake_score': _mean(jnp.mean, fake_score),
      'd_grad_norm': optax.tree.norm(grads),
    }
    if self._p is not None:
      metrics['augment_probability'] = self._p
    sign = lambda real, fake: adversarial.mean_sign(self._objective, real, fake)
    net = net.update(grads, tx).replace(kept=kept)
    net = net.replace(params=self.judge.project(net.params)).gathered()
    return net, _Found(metrics, _mean(sign, real_score, fake_score))

  def answer(self, net, fake):
    """The generator's loss before this judge, and that of its drafts' categories or None."""
    fake_score, told, _ = self._score(net, net.params, 'fake', self._shown('fake', fake))
    real_score, _, _ = self._score(net, net.params, 'real', self._real)
    weight = self.judge.weight
    game = weight * _sum(self._objective.generator, real_score, fake_score)
    return game, None if told is None else weight * told

  def _shown(self, which, clip):
    if self._p is not None:
      clip = augment.clips(self.scene.streams(f'augment_{which}'), clip, self._p)
    return self.scene.hide(which, clip)

  def _score(self, net, params, which, clip, network=None, take=lambda rows: rows):
    """Logits of what is shown, the loss of the category it tells, what it keeps after that pass.

    The second is None of a judge that does not classify.
    """
    scene, told = self.scene, None
    if self.judge.spectral_norm:
      params = spectral.normalise(params, net.kept[_OWN]['spectral'])
    view = self.judge.see(scene.streams, which, clip, jax.tree.map(take, scene.given))
    label = take(scene.label)
    logits, kept = net.apply(
      network or self.judge.network,
      view,
      take(scene.t),
      label,
      train=True,
      params=params,
      rngs=rngs(scene.streams, f'{self.name}_{which}'),
    )
    if self.judge.category:
      told = self.judge.category * adversarial.category(logits['category'], label)
      logits = {name: leaf for name, leaf in logits.items() if name != 'category'}
    return logits, told, kept

  def _penalty(self, net, params, real, fake):
    """gamma / 2 (R1 + R2) and the interpolation penalty, of some rows, in float32."""
    judge = self.judge
    network = judge.network.clone(dtype=jnp.float32)
    take, weight = rows.penalised(judge, len(real))
    score = lambda which: (
      lambda clip: _joined(self._score(net, params, which, clip, network, take)[0])
    )
    total = jnp.zeros(())
    if judge.r1:
      total += 0.5 * judge.r1 * adversarial.gradient_penalty(score('real'), take(real), weight)
    if judge.r2:
      total += 0.5 * judge.r2 * adversarial.gradient_penalty(score('fake'), take(fake), weight)
    if judge.interpolation:
      share = take(jax.random.uniform(self.scene.streams('penalty'), (len(real),)))
      total += judge.interpolation * adversarial.interpolation_penalty(
        score('real'), take(real), take(fake), share, weight
      )
    return total


def _adapted(net, sign, target, shown):
  """With the probability of its augmentation nearer to where `sign` is `target`."""
  own = net.kept[_OWN]
  p = augment.adapt(own['augment'], sign, target, shown)
  return net.keep(**{_OWN: own | {'augment': p}})


def _of_all(found):
  """Metrics of the judges together and, of several, of each: sums of losses, means of the rest.

  What only some have, is of these.
  """
  together = {}
  for key in dict.fromkeys(key for metrics in found.values() for key in metrics):
    values = {name: metrics[key] for name, metrics in found.items() if key in metrics}
    together[key] = sum(values.values()) / (1 if key in _LOSSES else len(values))
    if len(found) > 1:
      together |= {f'{key}_{name}': value for name, value in values.items()}
  return together


def _sum(f, *trees):
  """Of `f` over the leaves of logits of one shape."""
  return sum(f(*leaves) for leaves in zip(*map(jax.tree.leaves, trees)))


def _mean(f, *trees):
  return _sum(f, *trees) / len(jax.tree.leaves(trees[0]))


def _joined(logits):
  """One number for all: a clip's mean over each array of logits, summed over arrays and clips."""
  return sum(
    jnp.sum(jnp.mean(leaf.reshape(len(leaf), -1), axis=1)) for leaf in jax.tree.leaves(logits)
  )


def _spread(video):
  """Mean distance of the clips of a batch to their mean."""
  return jnp.mean(jnp.abs(video - jnp.mean(video, axis=0, keepdims=True)))
