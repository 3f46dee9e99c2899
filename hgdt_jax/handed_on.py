"""What the stages of a workdir hand on: shapes of their states, and weights."""

import functools
import pathlib

import flax
import jax
import jax.numpy as jnp

from hgdt_jax import checkpoint, settings, sharding
from hgdt_jax import workdir as workdirs
from hgdt_jax.stages import STAGES
from hgdt_jax.state import Net

LABEL = 'label'  # the scope of the embedding of labels, in every network that has one


def abstract_state(cfg: settings.Config, stage: str, mesh: jax.sharding.Mesh):
  """Shapes, dtypes and shardings of a stage's state; nothing is allocated."""
  shapes = _shapes(cfg, stage)
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    shapes,
    sharding.of_state(shapes, mesh),
  )


@functools.cache  # to trace takes seconds
def _shapes(cfg, stage):
  return jax.eval_shape(functools.partial(STAGES[stage].init, cfg), jax.random.key(0))


def weights(workdir: pathlib.Path, cfg: settings.Config, stage: str, mesh, names) -> dict:
  """What the networks `names` of a finished stage hand on; nothing else of it is read.

  Raises:
    OSError: its last checkpoint is damaged, or could not be restored.
  """
  like = abstract_state(cfg, stage, mesh).nets
  part = {
    name: {'params' if like[name].ema is None else 'ema': like[name].weights}
    | ({'kept': like[name].kept} if like[name].kept else {})
    for name in names
  }
  step, is_old = workdirs.last_step(workdir, stage), workdirs.format_of(workdir) < 3
  if is_old:  # there the aligner had one direction, and its parameters no scope for it
    part = _aligners_changed(part, lambda params: params['forward'])
  found = checkpoint.restore_part(workdir, stage, step, {'nets': part})['nets']
  if is_old:
    found = _aligners_changed(found, lambda params: {'forward': params})
  return {name: Net(next(iter(net.values())), net.get('kept', {})) for name, net in found.items()}


def _aligners_changed(part, change):
  """`{network: {kind: parameters}}` with `change` made to those of each aligner."""
  one = lambda name, params: change(params) if name.startswith('aligner') else params
  of_kind = lambda params: {name: one(name, each) for name, each in params.items()}
  return {
    network: {kind: of_kind(params) for kind, params in kinds.items()}
    for network, kinds in part.items()
  }


def of_state(state) -> dict[str, Net]:
  """What a stage hands on when it ends here, by network."""
  return {name: net.handed_on for name, net in state.nets.items()}


def begin(cfg: settings.Config, stage: str, key: jax.Array, taken: dict[str, Net]):
  """A stage's first state, with the networks `taken` over from earlier stages in it.

  Raises:
    ValueError: one of them has other parameters than the stage's own; missing or extra ones too.
  """
  state = STAGES[stage].init(cfg, key)
  nets = dict(state.nets)
  for name, given in taken.items():
    given = completed(cfg, given, nets[name].handed_on)
    if found := misfit(given, nets[name].handed_on):
      raise ValueError(f'{name} has other parameters than the stage that starts from it: {found}')
    nets[name] = nets[name].start_from(given)
  return state.replace(nets=nets)


def without_late(cfg: settings.Config, denoiser: Net) -> Net:
  """A denoiser for a run that is to begin its late parameters itself; see `denoisers.types`."""
  late = cfg.denoiser.late
  params = {name: leaf for name, leaf in denoiser.params.items() if not name.startswith(late)}
  return denoiser.replace(params=params)


def completed(cfg: settings.Config, given: Net, own: Net) -> Net:
  """`given`; the late parameters that it was handed on without are `own`.

  So are the embeddings of labels, where they are of other classes.
  """
  params = {n: leaf for n, leaf in own.params.items() if n.startswith(cfg.denoiser.late)}
  params |= given.params
  if has_other_labels(given, own):
    params = _of_own_inputs(params, own.params)
    params.pop(LABEL, None)
    params |= {LABEL: own.params[LABEL]} if LABEL in own.params else {}
  return given.replace(params=params)


def _of_own_inputs(params, own):
  """With kernels of as many inputs as `own`, where only one of the two takes a label.

  Embeddings of labels begin at zero, and where they are joined to other inputs they come last: so
  nothing is lost with those inputs, and nothing changed by new ones of weight zero.
  """
  flat, like = (flax.traverse_util.flatten_dict(dict(tree)) for tree in (params, own))
  widths = {jnp.shape(leaf)[-1] for path, leaf in (flat | like).items() if path[0] == LABEL}
  for path, leaf in flat.items():
    has, want = jnp.shape(leaf), jnp.shape(like.get(path, leaf))
    more = want[0] - has[0] if len(has) == len(want) == 2 and has[1] == want[1] else 0
    if abs(more) in widths:
      flat[path] = leaf[: want[0]] if more < 0 else jnp.pad(leaf, ((0, more), (0, 0)))
  return flax.traverse_util.unflatten_dict(flat)


def has_other_labels(given: Net, own: Net) -> bool:
  """Whether two networks know different numbers of classes."""
  shapes = lambda net: jax.tree.map(jnp.shape, net.params.get(LABEL))
  return shapes(given) != shapes(own)


def misfit(given: Net, wanted: Net) -> str:
  """What is wrong with the shapes of a network that another is to begin with; '' if nothing is."""
  leaves = lambda net: {
    jax.tree_util.keystr(path, simple=True, separator='/'): jnp.shape(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(net.variables())
  }
  old, new = leaves(given), leaves(wanted)
  found = [f'{path} is too much' for path in old if path not in new]
  for path, shape in new.items():
    if path not in old:
      found.append(f'there is no {path}')
    elif old[path] != shape:
      found.append(f'{path} is {old[path]} and not {shape}')
  more = f', and {len(found) - 3} more' if len(found) > 3 else ''
  return ', '.join(found[:3]) + more
