"""Published arrays made into the variables of a Linen network for inference."""

import flax
import jax
import numpy as np


def fold(arrays: dict[str, np.ndarray], epsilon: float) -> dict[str, np.ndarray]:
  """Batch normalisation with fixed statistics merged into each convolution, in float64.

  Every path that has a 'mean' comes out with 'kernel' and 'bias' alone; others are unchanged.
  """
  folded = {}
  for path in {name.rpartition('/')[0] for name in arrays}:
    layer = {n.rpartition('/')[2]: a for n, a in arrays.items() if n.rpartition('/')[0] == path}
    if 'mean' in layer:
      wide = {n: np.asarray(a, np.float64) for n, a in layer.items()}
      scale = wide.get('gamma', 1.0) / np.sqrt(wide['var'] + epsilon)
      bias = (wide.get('bias', 0.0) - wide['mean']) * scale + wide['beta']
      layer = {'kernel': (wide['kernel'] * scale), 'bias': bias}
    folded |= {f'{path}/{n}': np.asarray(a, np.float32) for n, a in layer.items()}
  return folded


def fit(network: flax.linen.Module, arrays: dict[str, np.ndarray], *inputs) -> dict:
  """`arrays` as the variables of `network`, checked against what it has on `inputs`.

  Raises:
    ValueError: names the first array that is missing, superfluous or of another shape.
  """
  wanted = jax.eval_shape(network.init, jax.random.key(0), *inputs)['params']
  wanted = flax.traverse_util.flatten_dict(wanted, sep='/')
  for name in sorted(wanted.keys() | arrays.keys()):
    want = wanted[name].shape if name in wanted else None
    got = arrays[name].shape if name in arrays else None
    if want != got:
      raise ValueError(
        f'weights of {type(network).__name__}: {name} should be {want or "absent"}, '
        f'is {got or "absent"}; was the file converted for another network?'
      )
  return {'params': flax.traverse_util.unflatten_dict(arrays, sep='/')}
