"""Networks in training: averages, spectral vectors, hand-over."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hgdt_jax import rng
from hgdt_jax.state import Net, from_scratch

PARAMS = {'w': jnp.array([1.0, 2.0])}
GRADS = {'w': jnp.array([1.0, -1.0])}


def test_update_leaves_the_old_network_alone():
  net = Net.create({'params': PARAMS}, optax.sgd(0.5))
  new = net.update(GRADS, optax.sgd(0.5), 0.9)
  np.testing.assert_allclose(net.params['w'], [1, 2])
  np.testing.assert_allclose(new.params['w'], [0.5, 2.5])
  np.testing.assert_allclose(new.ema['w'], [0.95, 2.05])


def test_the_average_forgets_the_first_weights_early():
  """At step 0 the decay is 1/10, not the asked 0.999."""
  net = Net.create({'params': PARAMS}, optax.sgd(0.5))
  net = net.update(GRADS, optax.sgd(0.5), from_scratch(0.999, 0))
  np.testing.assert_allclose(net.ema['w'], [0.1 * 1 + 0.9 * 0.5, 0.1 * 2 + 0.9 * 2.5], rtol=1e-6)


def test_the_asked_decay_is_reached_in_time():
  np.testing.assert_allclose(from_scratch(0.9, 1000), 0.9)
  np.testing.assert_allclose([from_scratch(0.999, n) for n in (0, 10, 90)], [0.1, 0.55, 0.91])


def test_weights_are_the_average_where_there_is_one():
  tx = optax.sgd(0.5)
  assert Net.create({'params': PARAMS}, tx, ema=False).update(GRADS, tx).weights['w'][0] == 0.5
  averaged = Net.create({'params': PARAMS}, tx).update(GRADS, tx, 0.9)
  np.testing.assert_allclose(averaged.weights['w'], averaged.ema['w'])


def test_a_network_starts_from_all_that_another_had_become():
  """Weights, and what no gradient reaches; not the optimiser's state."""
  vectors, p = {'w': jnp.array([0.6, 0.8])}, jnp.float32(0.3)
  tx = optax.adam(1e-3)
  game = {'spectral': vectors, 'augment': p}
  ended = Net.create({'params': PARAMS, 'game': game}, tx).update(GRADS, tx, 0.9)
  game = {'spectral': {'w': jnp.ones(2)}, 'augment': jnp.float32(0.0)}
  net = Net.create({'params': GRADS, 'game': game}, tx)
  net = net.start_from(ended.handed_on)
  for got in (net.params, net.ema):
    np.testing.assert_array_equal(got['w'], ended.ema['w'])
  np.testing.assert_array_equal(net.kept['game']['spectral']['w'], vectors['w'])
  assert net.kept['game']['augment'] == p
  assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(net.opt_state))


def test_variables_are_the_parameters_with_what_is_kept_beside_them():
  net = Net(PARAMS, {'batch_stats': {'mean': jnp.zeros(2)}})
  assert net.variables().keys() == {'params', 'batch_stats'}
  assert net.variables(GRADS)['params'] is GRADS
  kept = net.keep(batch_stats={'mean': jnp.ones(2)}).variables()
  assert kept['params'] is PARAMS and kept['batch_stats']['mean'][0] == 1


def test_no_two_leaves_share_a_buffer():
  """Donation refuses the same buffer twice."""
  net = jax.jit(lambda p: Net.create({'params': p}, optax.adam(1e-3)))(PARAMS)
  net = net.start_from(Net(PARAMS))
  buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((net.params, net.ema))]
  assert len(set(buffers)) == len(buffers)


def test_streams_differ_by_name_and_step_and_repeat():
  root = jax.random.key(0)
  draw = lambda *a: float(jax.random.uniform(rng.stream(root, *a)))
  assert draw('a', 1) == draw('a', 1)
  assert len({draw('a', 1), draw('a', 2), draw('b', 1)}) == 3
