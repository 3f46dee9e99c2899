"""What `mkdocs build` does beside its plugins: formulas as MathML, links into the code as names."""

import html
import pathlib
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

ROOT = pathlib.Path(__file__).parents[1]
_LINK = re.compile(r'(?<!!)\[([^\]]+)\]\(\.\./([^)#]+)\)')
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown, page, **_):
  """The code is no part of the site: a link that leads to it in the repository is a file's name."""

  def named(link):
    if not (ROOT / link[2]).exists():
      raise PluginError(f'{page.file.src_uri}: links to {link[2]}, which does not exist')
    return f'`{link[1].strip("`")}`'

  return _LINK.sub(named, markdown)


def on_page_content(page_html, **_):
  """Browsers show MathML by themselves: no script, no fonts."""

  def drawn(formula):
    display = 'block' if formula[2] == '[' else 'inline'
    return convert(html.unescape(formula[3]).strip(), display=display)

  return _FORMULA.sub(drawn, page_html)
