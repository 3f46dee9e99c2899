const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

// The grids of clips: all play, or none.
const grids = [...document.querySelectorAll('video')], pause = document.getElementById('pause');
if (grids.length) {
  let playing = !calm;
  const show = () => {
    grids.forEach(grid => playing ? grid.play().catch(() => {}) : grid.pause());
    pause.textContent = playing ? 'Pause' : 'Play';
  };
  pause.hidden = false;
  pause.onclick = () => { playing = !playing; show(); };
  grids.forEach(grid => { grid.currentTime = 0; });
  show();
}

// The clips of one seed: canvases that show the same frame of every sheet of that seed.
const seeds = [...document.querySelectorAll('.films figure')];
if (seeds.length) {
  const picker = document.getElementById('picker'), choice = document.getElementById('seeds');
  const players = document.getElementById('players'), play = document.getElementById('play');
  const slider = document.getElementById('time'), counter = picker.querySelector('output');
  const films = document.querySelector('.films');
  const rate = Number(films.dataset.rate), columns = Number(films.dataset.columns);
  let chosen = 0, shown = [], time = 0, length = 1, playing = !calm;

  const draw = () => {
    for (const [canvas, sheet] of shown) {
      const {width, height} = canvas, gutter = Number(sheet.dataset.gutter);
      const frame = Math.min(time, sheet.dataset.frames - 1);  // a shorter clip waits at its end
      const x = frame % columns * (width + gutter);
      const y = Math.floor(frame / columns) * (height + gutter);
      canvas.getContext('2d').drawImage(sheet, x, y, width, height, 0, 0, width, height);
    }
    slider.value = time;
    counter.textContent = `frame ${time + 1} of ${length}`;
    play.textContent = playing ? 'Pause' : 'Play';
  };

  const player = sheet => {
    const figure = document.createElement('figure'), canvas = document.createElement('canvas');
    const said = document.createElement('p');
    figure.className = 'player';
    [canvas.width, canvas.height] = [sheet.dataset.width, sheet.dataset.height];
    canvas.classList.toggle('large', canvas.width > 128);
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', sheet.alt);
    said.textContent = sheet.dataset.said;
    figure.append(canvas, sheet.parentNode.querySelector('b').cloneNode(true), said);
    players.append(figure);
    return [canvas, sheet];
  };

  const choose = async index => {
    chosen = (index + seeds.length) % seeds.length;
    const figure = seeds[chosen], sheets = [...figure.querySelectorAll('img')];
    choice.querySelectorAll('input')[chosen].checked = true;
    await Promise.all(sheets.map(sheet => sheet.decode()));
    if (figure !== seeds[chosen]) return;  // another was chosen meanwhile
    seeds.forEach(other => { other.hidden = other !== figure; });
    players.replaceChildren();
    shown = sheets.map(player);
    length = Math.max(...sheets.map(sheet => Number(sheet.dataset.frames)));
    slider.max = length - 1;
    time = Math.min(time, length - 1);
    draw();
  };

  const step = by => { time = (time + by + length) % length; draw(); };
  const stop = () => { playing = false; draw(); };
  const toggle = () => { playing = !playing; draw(); };
  const keys = {
    ' ': toggle,
    ArrowLeft: () => { stop(); step(-1); },
    ArrowRight: () => { stop(); step(1); },
    ArrowUp: () => choose(chosen - 1),
    ArrowDown: () => choose(chosen + 1),
  };

  seeds.forEach((figure, index) => {
    const label = document.createElement('label'), input = document.createElement('input');
    const number = document.createElement('span');
    Object.assign(input, {type: 'radio', name: 'seed', onchange: () => choose(index)});
    number.textContent = figure.dataset.seed;
    label.append(input, number);
    choice.append(label);
  });
  play.onclick = toggle;
  slider.oninput = () => { playing = false; time = Number(slider.value); draw(); };
  picker.onkeydown = event => {
    const space = event.key === ' ';
    // A button has a use of its own for space, the slider and the choice for arrows.
    const taken = event.target === play ? space : event.target !== picker && !space;
    const meant = !(event.altKey || event.ctrlKey || event.metaKey);  // not for the browser
    if (taken || !meant || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  };
  picker.hidden = false;
  choose(0);
  setInterval(() => { if (playing) step(1); }, 1000 / rate);
}
