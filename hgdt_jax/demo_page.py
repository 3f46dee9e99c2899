"""The page to play with, in Gradio: controls, and what they call of `playground`."""

import functools
import logging
import os
import pathlib
import tempfile
import time

from hgdt_jax import playground
from hgdt_jax.trained import Trained

_CACHED = 3600  # seconds that a browser can fetch a file again
_CSS = """
.gradio-container {max-width: 1200px !important; margin: auto}
#draft video, #clips video {image-rendering: pixelated}
#said {min-height: 3em}
"""
# The editor passes over a file that it cannot decode, and tells nobody.
_HEAD = """<script>
addEventListener('unhandledrejection', (event) => {
  const editor = document.querySelector('#image');
  if (!editor || event.reason?.name !== 'InvalidStateError') return;
  event.preventDefault();
  document.querySelector('#bad_image')?.remove();
  const says = document.createElement('p');
  says.id = 'bad_image';
  says.role = 'alert';
  says.textContent = 'First image: that file is not an image.';
  editor.before(says);
  setTimeout(() => says.remove(), 10000);
});
</script>"""
_FOLLOWS = ('says', 'tau', 'evaluations', 'image', 'no_image')  # what follows the method
_EMPTY = 'Choose, then draw. The first time of a method takes longer: programs are compiled.'


def refuse_without_gradio() -> None:
  """Raises ImportError, which says what to install."""
  # Read when it is imported: nothing is told to anybody, and nothing looked up.
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  os.environ['HF_HUB_DISABLE_TELEMETRY'] = 'True'
  try:
    import gradio  # noqa: F401
  except ImportError as error:
    raise ImportError(f'the page needs Gradio ({error}): pip install "hgdt_jax[demo]"') from error


def serve(model: Trained, folder: pathlib.Path, host: str, port: int, share: bool) -> None:
  """Serves the page until a signal ends it.

  Args:
    folder: for the files that browsers fetch.
    share: gives it a public address too.

  Raises:
    OSError: it cannot listen there.
  """
  import gradio as gr

  os.environ['GRADIO_TEMP_DIR'] = str(folder / 'cache')
  sans = ('system-ui', 'sans-serif')  # of the machine that shows it: the default fetches one
  theme = gr.themes.Default(font=sans, font_mono=('ui-monospace', 'monospace'))
  page = build(model, folder)
  logging.getLogger('uvicorn.error').addFilter(_is_of_the_server)
  try:
    _, local, public = page.launch(
      server_name=host,
      server_port=port,
      share=share,
      theme=theme,
      css=_CSS,
      head=_HEAD,
      footer_links=[],
      run_history=False,
      quiet=True,
      prevent_thread_lock=True,
    )
  except OSError as error:
    raise OSError(
      f'cannot listen at --host={host} --port={port}: it is taken, or no address of this machine; '
      'name another'
    ) from error
  print(f'page at {public or local}; Ctrl-C ends it', flush=True)
  while True:  # the server has threads of its own
    time.sleep(1)


def _is_of_the_server(record):
  """Not of a browser that left while it sent a file, of which a server prints a traceback."""
  return not record.exc_info or type(record.exc_info[1]).__name__ != 'ClientDisconnect'


def build(model: Trained, folder: pathlib.Path):
  """The page as `gradio.Blocks`; files are made in `folder`."""
  import gradio as gr

  usual = playground.usual(model)
  with gr.Blocks(
    title='hgdt_jax', analytics_enabled=False, delete_cache=(_CACHED, _CACHED)
  ) as page:
    gr.Markdown(f'# hgdt_jax\n{_about(model)}')
    with gr.Row():
      with gr.Column(scale=1, min_width=320):
        asked, follows = _controls(gr, model, usual)
        button = gr.Button('Draw', variant='primary', elem_id='draw')
      with gr.Column(scale=2, min_width=480):
        shown = _results(gr)
    asked['method'].change(
      functools.partial(_follow_method, gr, model),
      asked['method'],
      [follows[name] for name in _FOLLOWS],
      show_progress='hidden',
      api_visibility='private',
    )
    button.click(
      _drawer(gr, model, folder, tuple(asked)),
      list(asked.values()),
      list(shown.values()),
      show_progress_on=shown['clip'],
      api_visibility='private',  # from Python there is hgdt_jax.load
    )
  return page


def _about(model):
  frames, size, channels = model.cfg.data.frames, model.cfg.clip.size, model.cfg.clip.channels
  known = f'{model.cfg.data.classes} classes' if model.cfg.data.classes else 'no classes'
  colour = 'grey' if channels == 1 else 'colour'
  return f'A model of clips of {frames} frames of {size}x{size} in {colour}, with {known}.'


def _controls(gr, model, usual):
  """({what is asked: component}, {what follows the method: component})."""
  of = playground.means(model, usual.method)
  choices = [(model.lending.way(name).label, name) for name in model.methods]
  trained_on = model.cfg.data.frames
  asked, follows = {}, {}
  asked['method'] = gr.Radio(choices, value=usual.method, label='Method', elem_id='method')
  follows['says'] = gr.Markdown(of.text, elem_id='method_says')
  asked['tau'] = follows['tau'] = gr.Slider(
    0,
    1,
    usual.tau,
    step=0.01,
    label='Tau, noise of the draft',
    interactive=of.tau,
    elem_id='tau',
  )
  asked['evaluations'] = follows['evaluations'] = gr.Slider(
    1,
    playground.MOST_EVALUATIONS,
    usual.evaluations,
    step=1,
    label='Evaluations, at most',
    interactive=of.evaluations,
    elem_id='evaluations',
  )
  asked['frames'] = gr.Slider(
    1,
    playground.LONGEST * trained_on,
    usual.frames,
    step=1,
    label=f'Frames, trained on {trained_on}',
    elem_id='frames',
  )
  asked['num'] = gr.Slider(
    1, playground.MOST_CLIPS, usual.num, step=1, label='Clips', elem_id='num'
  )
  with gr.Row():
    asked['label'] = gr.Dropdown(
      playground.labels(model),
      value=usual.label,
      label='Class',
      interactive=of.label,
      elem_id='label',
      min_width=140,
    )
    asked['seed'] = gr.Textbox(
      str(usual.seed), label='Seed', max_lines=1, elem_id='seed', min_width=140
    )
  # Hidden rather than switched off: Gradio's editor gives no value at all where it is off.
  with gr.Column(visible=not of.no_image) as follows['image']:
    asked['image'] = gr.ImageEditor(
      type='pil',
      sources=('upload', 'clipboard'),
      transforms=(),
      layers=False,
      canvas_size=(256, 256),
      fixed_canvas=True,
      height=330,
      buttons=[],
      label='First image',
      elem_id='image',
    )
  follows['no_image'] = gr.Markdown(of.no_image, elem_id='no_image')
  return asked, follows


def _results(gr):
  """{what is shown: component}, in the order that `_answer` gives them."""
  shown = {'said': gr.Markdown(_EMPTY, elem_id='said')}
  look = dict(interactive=False, show_label=False)
  video = dict(autoplay=True, loop=True, buttons=[], height=320, **look)
  strip = dict(buttons=['fullscreen'], format='png', **look)
  with gr.Row():
    with gr.Column(visible=False, min_width=240) as shown['drafts']:
      gr.Markdown("### The GAN's draft")
      shown['draft'] = gr.Video(elem_id='draft', **video)
      shown['draft_strip'] = gr.Image(elem_id='draft_strip', **strip)
    with gr.Column(min_width=240):
      shown['heading'] = gr.Markdown('### Clips', elem_id='heading')
      shown['clip'] = gr.Video(elem_id='clips', **video)
      shown['strip'] = gr.Image(elem_id='strip', **strip)
  shown['archive'] = gr.DownloadButton(
    'Download: every clip, every pixel', interactive=False, elem_id='download'
  )
  return shown


def _follow_method(gr, model, method):
  """Updates of `_FOLLOWS`."""
  of = playground.means(model, method)
  return (
    of.text,
    gr.update(interactive=of.tau),
    gr.update(interactive=of.evaluations),
    gr.update(visible=not of.no_image),
    of.no_image,
  )


def _drawer(gr, model, folder, names):
  """What the button does: updates of what `_results` has, or a message and nothing else new."""
  tell = gr.Progress()  # Gradio finds it, as the default of an argument
  drawn_before = set()

  def draw(*values, progress=tell):
    asked = dict(zip(names, values))
    # Files are copied once they have been given away; then they go.
    with tempfile.TemporaryDirectory(dir=folder) as place:
      yield _answer(gr, model, asked, pathlib.Path(place), progress, drawn_before)

  return draw


def _answer(gr, model, asked, place, progress, drawn_before):
  tell = lambda share, text: progress(share, desc=text)
  try:
    image = (asked.pop('image') or {}).get('composite')
    request = playground.request(model, playground.Asked(**asked, image=image), place)
    drawn = playground.draw(model, request, tell)
    tell(0.9, 'writing the files')
    shown = playground.write(drawn, place, model.cfg.data.fps)
  except (ValueError, OSError) as error:
    return _refusal(gr, str(error))
  except Exception as error:  # a fault of the program, or of the device: the page stays
    logging.exception('a page asked for %s', asked)
    return _refusal(gr, f'{type(error).__name__}: {error}')
  said, program = playground.said(model, drawn), playground.program(request)
  if program not in drawn_before:
    said += ' That is with compiling: the next of the kind takes less.'
  drawn_before.add(program)
  became = ', what became of it' if shown.draft else ''
  return (
    said,
    gr.update(visible=shown.draft is not None),
    shown.draft,
    shown.draft_strip,
    f'### {model.lending.way(request.method).label}{became}',
    shown.clip,
    shown.strip,
    gr.update(value=shown.archive, interactive=True),
  )


def _refusal(gr, why):
  return (f'**Nothing was drawn.** {why.strip().partition(chr(10))[0]}', *[gr.skip()] * 7)
