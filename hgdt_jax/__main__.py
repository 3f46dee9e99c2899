"""`hgdt-jax VERB ...`, which is `python -m hgdt_jax.VERB ...`."""

import runpy
import sys

from hgdt_jax import __version__

VERBS = {  # modules that are run, and what each is for
  'main': ('hgdt_jax.main', 'train every stage, sample, score, write the report'),
  'sample': ('hgdt_jax.sample', 'draw clips from a run or from weights'),
  'demo': ('hgdt_jax.demo', 'a page to play with a run or weights'),
  'evaluate': ('hgdt_jax.evaluate', 'score any two folders of clips'),
  'export': ('hgdt_jax.export', 'take what a run has learnt away as one file'),
  'compile': ('hgdt_jax.compile', 'whether a recipe fits a slice of TPUs, without one'),
  'prepare': ('input_pipeline.prepare', 'decode a set of clips once'),
}


def main() -> None:
  verb, rest = (sys.argv[1:2] or [''])[0], sys.argv[2:]
  if verb in VERBS:
    sys.argv = [verb, *rest]
    runpy.run_module(VERBS[verb][0], run_name='__main__', alter_sys=True)
  elif verb == '--version':
    print(f'hgdt-jax {__version__}')
  elif verb in ('--help', '-h'):
    print("hgdt-jax VERB [--flags]; hgdt-jax VERB --help lists a verb's flags\n")
    for name, (_, meaning) in VERBS.items():
      print(f'  {name:10}{meaning}')
  else:
    what = f'no verb {verb!r}' if verb else 'which verb?'
    print(f'hgdt-jax: {what}; there are {", ".join(VERBS)}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  main()
