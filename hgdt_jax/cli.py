"""What all verbs share: flags that fail in one line, signals, and exit codes.

0 done; 1 failed, with one clear line on stderr; 2 usage; 130 and 143 stopped by Ctrl-C or SIGTERM:
what there was is saved.
"""

import os
import sys
from collections.abc import Callable

from hgdt_jax import interrupts


def _say(error, code):
  verb = os.path.basename(sys.argv[0]).removesuffix('.py')
  print(f'{verb}: ' + ' '.join(str(error).split()), file=sys.stderr, flush=True)
  return code


# Before anything slow is imported.
interrupts.install(lambda stop: _say(f'stopped by {stop.signal}; {stop.advice}', stop.code))

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from hgdt_jax.guards import Unhealthy  # noqa: E402


def config_flag(name: str, default: str, help_text: str):
  """Defines a flag that names a config file; fields are set as `--name.a.b=value`.

  ml_collections looks at the overrides while the flag is defined, so a wrong one fails here.
  """
  try:
    return config_flags.DEFINE_config_file(name, default, help_text, lock_config=True)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(_say(f'--{name}: no such field, or not of its type: {error}', 2))


def run(main: Callable[[], int | None]) -> None:
  """Runs `main` once the flags are parsed; errors that are the user's to mend have no traceback."""

  def guarded(argv):
    logging.set_verbosity(logging.WARNING)
    # Orbax reports each file it touches, and with a traceback what it then raises.
    logging.get_absl_handler().addFilter(lambda record: '/orbax/' not in record.pathname)
    if len(argv) > 1:
      return _say(f'unexpected arguments: {" ".join(argv[1:])}', 2)
    try:
      code = main()
      interrupts.uninstall()
      return code
    except (ValueError, OSError, Unhealthy) as error:
      if os.environ.get('HGDT_TRACEBACK'):
        raise
      return _say(error, 1)

  app.run(guarded, flags_parser=_parse)


def _parse(argv):
  try:
    return flags.FLAGS(argv)
  except SystemExit:  # after --help, which absl thinks a failure
    sys.exit(0)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    # ml_collections raises all of these for a field that does not exist or has another type.
    sys.exit(_say(f'flags: {error}; --help lists them', 2))
