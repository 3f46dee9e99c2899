"""The look of the page: two colour schemes, a phone and a desk."""

from hgdt_jax.methods import METHODS
from hgdt_jax.report import plots

_DARK = {
  'ink': '#e6e8eb',
  'muted': '#98a1ac',
  'line': '#343a42',
  'raw': '#3d5480',
  'smooth': '#7ea6ff',
  'real': '#a3abb5',
  **{name: method.colours[1] for name, method in METHODS.items()},
  'bad': '#ff8a80',
}


def css() -> str:
  """The style sheet; the colours of plots are variables in it."""
  light, dark = (
    ''.join(f'--{role}:{value};' for role, value in colours.items())
    for colours in (plots.COLOURS, _DARK)
  )
  return (
    f':root{{color-scheme:light dark;{light}--paper:#fff;--back:#f5f6f8;--tint:#faeaf5}}\n'
    f'@media(prefers-color-scheme:dark){{:root{{{dark}'
    '--paper:#1b1e23;--back:#131519;--tint:#35222f}}\n'
  ) + _RULES


_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0 0 8px}
h2{font-size:20px;letter-spacing:-.01em;margin:0 0 4px}
h3{font-size:15px;margin:20px 0 8px}
p{margin:0 0 12px;max-width:74ch}
.lead{font-size:17px}
.over{font-size:13.5px;color:var(--muted);margin:0}
.muted,.note{color:var(--muted)}
.note{font-size:14px}
section{background:var(--paper);border:1px solid var(--line);border-radius:12px;
  padding:22px 24px;margin-top:20px}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.87em}
pre{overflow:auto;max-height:480px;margin:8px 0 0;padding:14px;border-radius:8px;
  background:var(--back)}
summary{cursor:pointer;color:var(--muted);font-size:14px;margin-top:12px}
button{font:inherit;font-size:14px;color:inherit;background:var(--back);cursor:pointer;
  border:1px solid var(--line);border-radius:7px;padding:3px 14px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px 28px;
  margin:22px 0 0;padding-top:18px;border-top:1px solid var(--line)}
.facts dt{font-size:12.5px;color:var(--muted)}
.facts dd{margin:1px 0 0;font-size:15px;overflow-wrap:anywhere}
.warning{border-left:3px solid var(--bad);padding-left:12px}
.head{display:flex;justify-content:space-between;align-items:center;gap:16px}
.films{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:24px}
.films figure{margin:0;min-width:0}
.films figcaption{font-size:13px;color:var(--muted);margin-bottom:6px}
.film{display:grid;grid-template-columns:128px 1fr;gap:12px;align-items:center;margin-bottom:6px}
.film img{width:100%;height:auto;display:block;image-rendering:pixelated}
.film b,.clip b,.player b{font-size:13px;line-height:1.25;font-weight:600;overflow-wrap:anywhere}
#picker{border-radius:8px;margin-bottom:20px}
:focus-visible{outline:2px solid var(--smooth);outline-offset:3px}
#seeds{border:0;margin:0 0 16px;padding:0;display:flex;flex-wrap:wrap;gap:6px}
#seeds legend{float:left;width:auto;padding:3px 6px 0 0;font-size:14px;color:var(--muted)}
#seeds label{position:relative;cursor:pointer}
#seeds input{position:absolute;inset:0;opacity:0;margin:0;cursor:pointer}
#seeds span{display:block;min-width:36px;padding:4px 9px;text-align:center;font-size:14px;
  border:1px solid var(--line);border-radius:7px;background:var(--back);
  font-variant-numeric:tabular-nums}
#seeds input:checked+span{background:var(--smooth);border-color:var(--smooth);color:var(--paper);
  font-weight:700}
#seeds input:focus-visible+span{outline:2px solid var(--smooth);outline-offset:2px}
#players{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:16px}
.player{margin:0;max-width:256px}
.player canvas{width:100%;display:block;border-radius:6px;image-rendering:pixelated;
  outline:1px solid var(--line);margin-bottom:7px}
/* what is shrunk is blurred, lest pixels be lost */
.player canvas.large,.film img.large{image-rendering:auto}
.player p{font-size:13px;line-height:1.4;margin:0;color:var(--muted)}
.player b{display:block}
.transport{display:flex;align-items:center;gap:14px;margin-top:16px;max-width:640px}
.transport input{flex:1;min-width:0;accent-color:var(--smooth)}
.transport output{font-size:14px;color:var(--muted);font-variant-numeric:tabular-nums;
  white-space:nowrap}
.transport button{min-width:76px}
.keys{margin:12px 0 0}
@media(pointer:coarse){.keys{display:none}}
kbd{font:inherit;font-size:12.5px;border:1px solid var(--line);border-radius:4px;padding:0 5px}
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,190px),1fr));gap:16px}
.clip video,.clip img{width:100%;display:block;border-radius:8px;background:var(--back);
  margin-bottom:7px}
.clip p{font-size:13px;line-height:1.4;margin:0;color:var(--muted)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));
  gap:18px 24px;margin-top:8px}
.plots svg{width:100%;height:auto;display:block;overflow:visible}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13.5px;margin:4px 0 6px}
.key i{display:inline-block;width:18px;height:0;border-top:3px solid;vertical-align:4px;
  margin-right:6px}
.key i.dashed{border-top-style:dashed;border-top-width:2px}
.scroll{overflow-x:auto;margin:10px -24px 0;padding:0 24px}
table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
th,td{padding:8px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;font-size:13px;vertical-align:bottom;line-height:1.3}
thead th{white-space:normal;min-width:66px}
th[title]{text-decoration:underline dotted var(--muted);text-underline-offset:3px;cursor:help}
th:first-child,td:first-child{text-align:left;padding-left:0}
tbody th{position:sticky;left:0;background:var(--paper)}
tr.reference td,tr.reference th{color:var(--muted)}
td.best{font-weight:700}
td.best span{background:var(--tint);border-radius:5px;padding:2px 7px;margin-right:-7px}
.protocol th,.protocol td{text-align:left;white-space:normal;vertical-align:top;
  overflow-wrap:anywhere;padding-left:0}
.dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:7px}
dl.meanings{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;font-size:14px;
  margin:14px 0 0}
dl.meanings dt{font-weight:600}
dl.meanings dd{margin:0;color:var(--muted);max-width:80ch}
@media(max-width:640px){
  main{padding:22px 12px 40px}
  h1{font-size:24px}
  section{padding:16px 14px;border-radius:10px}
  .scroll{margin:10px -14px 0;padding:0 14px}
  .film{grid-template-columns:1fr;gap:2px;margin-bottom:8px}
  .film img{image-rendering:auto}
  #seeds legend{float:none;width:100%;padding:0}
  #players{grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:14px 10px}
  .clips{grid-template-columns:1fr 1fr;gap:14px 10px}
  .facts{grid-template-columns:1fr 1fr;gap:12px 16px}
  dl.meanings{grid-template-columns:1fr;gap:0}
  dl.meanings dd{margin-bottom:8px}
}
@media print{section{break-inside:avoid}button,#picker{display:none}
  .films figure[hidden]{display:block}}
"""
