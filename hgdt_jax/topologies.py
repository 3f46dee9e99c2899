"""Slices of TPUs, to compile for: their compiler needs none of them, only libtpu."""

import importlib.util
import os

import jax
from jax.experimental import topologies

_WITHOUT_A_TPU = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # nobody's device is held
  'TPU_SKIP_MDS_QUERY': '1',  # a machine that is no TPU's has nobody to ask what it is
  'TPU_ACCELERATOR_TYPE': 'v5litepod-1',  # and complains of that, whatever the topology
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_MIN_LOG_LEVEL': '3',
  'TF_CPP_MIN_LOG_LEVEL': '3',
}

_KINDS = {  # sides of a slice, in chips, and what else the compiler is told
  'v4': (3, {'chip_config_name': 'megacore'}),  # the two cores of a chip are one device
  'v5e': (2, {}),
  'v5p': (3, {}),
  'v6e': (2, {}),
}


def devices(name: str) -> list[jax.Device]:
  """The chips of a slice.

  Args:
    name: KIND:AxB of v5e and v6e, KIND:AxBxC of v4 and v5p, in chips.

  Raises:
    ImportError: there is no libtpu.
    ValueError: there is no such slice.
  """
  kind, _, layout = name.partition(':')
  sides = layout.split('x')
  count, options = _KINDS.get(kind, (0, {}))
  if len(sides) != count or not all(side.isdecimal() and int(side) for side in sides):
    raise ValueError(
      f'topology {name!r}: want KIND:AxB of v5e, v6e, or KIND:AxBxC of v4, v5p, sides in chips'
    )
  if importlib.util.find_spec('libtpu') is None:
    raise ImportError("the compiler of TPUs is missing: pip install 'hgdt_jax[tpu]'")
  for variable, value in _WITHOUT_A_TPU.items():
    os.environ.setdefault(variable, value)
  host = (*(min(int(side), 2) for side in sides[:2]), 1)  # holds 2 x 2 chips at most
  try:
    found = topologies.get_topology_desc(
      platform='tpu', topology_name=name, chips_per_host_bounds=host, **options
    )
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(f'topology {name!r}: the compiler knows none such: {error}') from error
  return list(found.devices)
