"""A page to play with a trained model, in a browser.

python -m hgdt_jax.demo --weights=synthetic
python -m hgdt_jax.demo --workdir=DIR --port=7860
"""

import pathlib
import tempfile

from absl import flags

from hgdt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'Of the run to draw from.')
_WEIGHTS = flags.DEFINE_string(
  'weights', None, 'In its place: a file that `export` wrote, or the name of shipped weights.'
)
flags.mark_flags_as_mutual_exclusive(['workdir', 'weights'], required=True)
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'To listen at; 0.0.0.0 lets other machines in.')
_PORT = flags.DEFINE_integer('port', 7860, 'To listen at.', 1, 65535)
_SHARE = flags.DEFINE_bool('share', False, "A public address too, through Gradio's servers.")


def main():
  from hgdt_jax import demo_page, donors, machine, workdir  # after the flags

  demo_page.refuse_without_gradio()
  machine.start()
  from hgdt_jax.trained import Trained

  donor = donors.find(_WEIGHTS.value or pathlib.Path(_WORKDIR.value).expanduser())
  workdir.use_compile_cache(donor.cache)
  model = Trained.load(donor)
  print(machine.line(model.mesh, model.cfg.dtype), flush=True)
  with tempfile.TemporaryDirectory(prefix='hgdt_demo_') as folder:
    demo_page.serve(model, pathlib.Path(folder), _HOST.value, _PORT.value, _SHARE.value)


if __name__ == '__main__':
  cli.run(main)
