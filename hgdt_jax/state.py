"""What a stage trains: networks with their moving averages and optimiser states."""

from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from hgdt_jax import sharding


@flax.struct.dataclass
class Net:
  """One network. `ema` is what samples; frozen networks have no optimiser state.

  `kept` is what no gradient reaches, by collection: running statistics of batches, the vectors of a
  power iteration, the probability of an augmentation. It belongs to the weights: whoever takes them
  over, to train or to sample, takes it too.
  """

  params: Any
  kept: Mapping[str, Any] = flax.struct.field(default_factory=dict)
  ema: Any = None
  opt_state: Any = ()

  @classmethod
  def of(cls, variables: Mapping[str, Any]):
    """Frozen, with the variables that a module's `init` gives."""
    kept = {name: leaves for name, leaves in variables.items() if name != 'params'}
    return cls(variables['params'], kept)

  @classmethod
  def create(
    cls, variables: Mapping[str, Any], tx: optax.GradientTransformation, *, ema: bool = True
  ):
    """To be trained."""
    net = cls.of(variables)
    # A copy, because donation refuses two leaves that share one buffer.
    average = jax.tree.map(jnp.copy, net.params) if ema else None
    return net.replace(ema=average, opt_state=tx.init(net.params))

  def variables(self, params=None) -> dict[str, Any]:
    """What a Linen module is applied to; `params` in place of its own, to differentiate by."""
    return {'params': self.params if params is None else params, **self.kept}

  def apply(self, module, *args, params=None, **options):
    """In training: what a Linen module gives, and what the network keeps after that pass."""
    out, changed = module.apply(self.variables(params), *args, mutable=list(self.kept), **options)
    return out, {**self.kept, **changed}

  @property
  def weights(self):
    """What samples: the average where there is one."""
    return self.params if self.ema is None else self.ema

  @property
  def handed_on(self) -> 'Net':
    """What another stage takes over, and what samples: the weights with what they go with."""
    return Net(self.weights, self.kept)

  def start_from(self, before: 'Net'):
    """The network that `before`, which was handed on, had become; a fresh optimiser state."""
    average = None if self.ema is None else jax.tree.map(jnp.copy, before.params)
    return before.replace(ema=average, opt_state=self.opt_state)

  def keep(self, **collections):
    """With these collections in place of its own, which are as many or fewer."""
    return self.replace(kept=self.kept | collections)

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
