"""What all verbs share: flags that fail in one line, signals, and exit codes.

0 done; 1 failed, and the last line on stderr says why; 2 usage; 130 and 143 stopped by Ctrl-C or
SIGTERM: what there was is saved.
"""

import functools
import os
import pathlib
import sys
import traceback
import warnings
from collections.abc import Callable

from hgdt_jax import interrupts


def _say(error, code):
  verb = os.path.basename(sys.argv[0]).removesuffix('.py')
  print(f'{verb}: ' + ' '.join(str(error).split()), file=sys.stderr, flush=True)
  return code


# Before anything slow is imported.
interrupts.install(lambda stop: _say(f'stopped by {stop.signal}; {stop.advice}', stop.code))

from absl import app, flags, logging  # noqa: E402
from ml_collections.config_flags import config_flags  # noqa: E402

from hgdt_jax.guards import Unhealthy  # noqa: E402

flags.disclaim_key_flags()  # what is defined here is the verb's, and stands in its --help


_PLACES = ('workdir', 'out', 'real', 'fake')  # flags of verbs that name a file or a folder
_FOLDER = pathlib.Path(__file__).resolve().parents[1]  # of this package and the recipes


class _RecipeParser(config_flags.ConfigFileFlagParser):
  """FILE or FILE:PRESET; `configs/...` is the packaged recipe where the current folder has none."""

  def parse(self, path):
    name, colon, preset = path.partition(':')
    file = pathlib.Path(name).expanduser()
    path = f'{file}{colon}{preset}'
    if file.parts[:1] == ('configs',) and not file.exists() and (_FOLDER / file).exists():
      path = str(_FOLDER / path)
    elif not file.exists():
      recipes = sorted(p.name for p in _FOLDER.glob('configs/[!_]*.py') if p.name != 'base.py')
      raise ValueError(f'no such file; configs/ of the package has {", ".join(recipes)}')
    try:
      return super().parse(path)
    except Exception as error:  # with the traceback of what the recipe raised in its text
      last = str(error).strip().rpartition('\n')[2]
      raise ValueError(last.removeprefix('ValueError: ')) from error


def config_flag(name: str, default: str, help_text: str):
  """Defines a flag that names a config file; fields are set as `--name.a.b=value`.

  ml_collections looks at the overrides while the flag is defined, so a wrong one fails here.
  """
  try:
    holder = config_flags.DEFINE_config_file(name, default, help_text, lock_config=True)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(_say(f'--{name}: no such field, or not of its type: {error}', 2))
  flags.FLAGS[name].parser = _RecipeParser(name, lock_config=True)
  return holder


def run(main: Callable[[], int | None]) -> None:
  """Runs `main` once the flags are parsed; errors that are the user's to mend have no traceback."""

  def guarded(argv):
    logging.set_verbosity(logging.WARNING)
    warnings.showwarning = _say_warning
    sys.unraisablehook = functools.partial(_say_unraisable, sys.unraisablehook)
    # Orbax reports each file it touches, and with a traceback what it then raises; what else failed
    # in its threads, as all do on a full disk, asyncio reports after the verb's own last line.
    quiet = lambda record: '/orbax/' not in record.pathname and record.name != 'asyncio'
    logging.get_absl_handler().addFilter(quiet)
    if len(argv) > 1:
      return _say(f'unexpected arguments: {" ".join(argv[1:])}', 2)
    try:
      with interrupts.unmasked():
        code = main()
        sys.stdout.flush()
      interrupts.uninstall()
      return code
    except BrokenPipeError:
      # Whoever read what was printed has left; Python is not to fail once more at its end.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      return _say(f'nobody reads what is printed any more{_where()}', 1)
    except (ValueError, OSError, ImportError, Unhealthy) as error:
      if os.environ.get('HGDT_TRACEBACK'):
        raise
      of_system = isinstance(error, OSError) and error.errno  # and not found by the program
      return _say(f'{error}{_where() if of_system else ""}', 1)
    except Exception as error:  # a fault of the program, or of the device
      traceback.print_exc()
      return _say(f'{_first_line(error)}{_where()}', 1)

  app.run(guarded, flags_parser=_parse)


_show_warning = warnings.showwarning


def _say_warning(message, category, filename, lineno, file=None, line=None):
  """What is for the user in one line, without the line of code that it comes from."""
  if category is UserWarning and file is None:
    _say(f'warning: {message}', 0)
  else:
    _show_warning(message, category, filename, lineno, file, line)


def _say_unraisable(say, unraisable):
  """But not of each write that a full disk left undone in a loop of orbax's that has ended."""
  if str(unraisable.exc_value) != 'Event loop is closed':
    say(unraisable)


def _where():
  """Names the workdir, of verbs that have one."""
  return f' (--workdir={flags.FLAGS.workdir})' if 'workdir' in flags.FLAGS else ''


def _first_line(error):
  text = str(error).strip().partition('\n')[0]
  if 'RESOURCE_EXHAUSTED' in text:
    text += '; the device is out of memory: lower config.data.batch, or set config.denoiser.remat'
  return f'{type(error).__name__}: {text}'


def _parse(argv):
  try:
    left = flags.FLAGS(argv)
    _check_places()
    return left
  except SystemExit:  # after --help, which absl thinks a failure
    sys.exit(0)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    # ml_collections raises all of these for a field that does not exist or has another type.
    sys.exit(_say(f'flags: {error}; --help lists them', 2))


def _check_places():
  """ValueError where a place has no name, or the workdir one that libraries cannot take."""
  given = {name: flags.FLAGS[name].value for name in _PLACES if name in flags.FLAGS}
  for name, place in given.items():
    if place == '':  # as of a shell variable that is not set
      raise ValueError(f'--{name}= is empty, which would be the current folder; name one')
  if given.get('workdir'):
    path = str(pathlib.Path(given['workdir']).expanduser().absolute())
    if path.encode(errors='replace').decode() != path:  # not read as UTF-8, as in LC_ALL=POSIX
      raise ValueError(
        f'--workdir={path}: no UTF-8 here, which checkpoints need; set LC_ALL=C.UTF-8, or rename it'
      )
