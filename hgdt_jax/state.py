"""What a stage trains: networks with their moving averages and optimiser states."""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from hgdt_jax import sharding


@flax.struct.dataclass
class Net:
  """One network. `ema` is what samples; frozen networks have no optimiser state.

  `spectral` holds the power-iteration vectors of a critic under spectral normalisation; `augment`,
  where what a critic sees is augmented, the probability.
  """

  params: Any
  ema: Any = None
  opt_state: Any = ()
  spectral: Any = ()
  augment: jax.Array | None = None

  @classmethod
  def create(cls, params, tx: optax.GradientTransformation, *, ema: bool = True, **more):
    # A copy, because donation refuses two leaves that share one buffer.
    average = jax.tree.map(jnp.copy, params) if ema else None
    return cls(params, average, tx.init(params), **more)

  @property
  def weights(self):
    """What samples: the average where there is one."""
    return self.params if self.ema is None else self.ema

  @property
  def handed_on(self) -> 'Net':
    """What another stage takes over: the weights, and all that no gradient reaches."""
    return Net(self.weights, spectral=self.spectral, augment=self.augment)

  def start_from(self, before: 'Net'):
    """The network that `before`, which was handed on, had become; a fresh optimiser state."""
    average = None if self.ema is None else jax.tree.map(jnp.copy, before.params)
    return before.replace(ema=average, opt_state=self.opt_state)

  def gathered(self):
    """With its parameters whole on every device: those that a step applies."""
    return self.replace(params=sharding.gathered(self.params))

  def update(self, grads, tx: optax.GradientTransformation, decay: float | jax.Array = 0.0):
    """One optimiser step, after which the average keeps `decay` of itself; returns a new Net."""
    # Else the split of the optimiser's moments would spread to the activations, batch and all.
    grads = sharding.gathered(grads)
    updates, opt_state = tx.update(grads, self.opt_state, self.params)
    params = optax.apply_updates(self.params, updates)
    if self.ema is None:
      return self.replace(params=params, opt_state=opt_state)
    ema = optax.incremental_update(params, self.ema, 1.0 - decay)
    return self.replace(params=params, ema=ema, opt_state=opt_state)


def from_scratch(decay: float, step: jax.Array) -> jax.Array:
  """The decay of an average of weights that were random at step 0: they are not to linger in it.

  min(decay, (1 + step) / (10 + step)).
  """
  return jnp.minimum(decay, (1.0 + step) / (10.0 + step))


@flax.struct.dataclass
class TrainState:
  """Everything a stage's step reads and writes."""

  step: jax.Array  # int32 scalar, updates done
  nets: dict[str, Net]

  @classmethod
  def create(cls, **nets: Net):
    return cls(jnp.zeros((), jnp.int32), nets)


def on_mesh(step: Callable, mesh: jax.sharding.Mesh) -> Callable:
  """A stage's step as the devices of `mesh` share it: to be jitted with the state's shardings.

  It finds the parameters whole (fully sharded data parallelism, ZeRO: Rajbhandari et al. 2020).
  Left to itself, the compiler would rather split the activations as the parameters are, which moves
  clips between devices.
  """

  def shared(state, batch, root):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      nets = {name: net.gathered() for name, net in state.nets.items()}
      return step(state.replace(nets=nets), batch, root)

  return shared
