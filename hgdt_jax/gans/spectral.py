"""Spectral normalisation of a parameter tree (Miyato et al. 2018), outside the network.

Each kernel is divided by its largest singular value, followed by one power iteration an update.
Done once per step on the parameters, it costs the same however often the network is then applied.
"""

import jax
import jax.numpy as jnp


def init(params, key: jax.Array):
  """The power-iteration vectors of all kernels: `{path: [fan_in]}`."""
  kernels = _kernels(params)
  keys = jax.random.split(key, len(kernels))
  return {
    name: _unit(jax.random.normal(k, (_matrix(kernel).shape[0],)))
    for k, (name, kernel) in zip(keys, kernels.items())
  }


def iterate(params, vectors):
  """One power iteration: the vectors for the present parameters."""
  kernels = _kernels(params)
  return {
    name: _unit(_matrix(kernels[name]) @ _right(kernels[name], u)) for name, u in vectors.items()
  }


def normalise(params, vectors):
  """Parameters with every kernel's largest singular value (as the vectors see it) set to 1."""

  def one(path, leaf):
    name = jax.tree_util.keystr(path)
    if name not in vectors:
      return leaf
    u = jax.lax.stop_gradient(vectors[name])
    v = jax.lax.stop_gradient(_right(leaf, u))
    return leaf / (u @ _matrix(leaf) @ v)

  return jax.tree_util.tree_map_with_path(one, params)


def _kernels(params):
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  # Not the label embeddings, which begin at zero and have no direction.
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if path[-1].key == 'kernel'}


def _matrix(kernel):
  return kernel.reshape(-1, kernel.shape[-1])


def _right(kernel, u):
  return _unit(_matrix(kernel).T @ u)


def _unit(v):
  return v / jnp.maximum(jnp.linalg.norm(v), 1e-12)
