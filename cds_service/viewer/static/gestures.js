// What hands do to a viewer: wheel, drag, pinch, keys, and clicks on the strip of scores.
export function listen(viewer) {
  const { stage } = viewer;
  stage.addEventListener("wheel", (event) => onWheel(viewer, event), { passive: false });
  stage.addEventListener("keydown", (event) => onKey(viewer, event));
  stage.addEventListener("dblclick", () => viewer.perform("reset"));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  listenToDrags(viewer);
  const strip = document.querySelector(`#strip-of-${viewer.figure.dataset.index}`);
  strip?.addEventListener("click", (event) => viewer.show(nearest(viewer, numberAt(strip, event))));
}

function onWheel(viewer, event) {
  event.preventDefault();
  const single = viewer.series.slices.length < 2;
  if (event.ctrlKey || single) viewer.zoom(Math.exp(-event.deltaY / 300));
  else if (event.deltaY) viewer.step(Math.sign(event.deltaY));
}

const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };

function onKey(viewer, event) {
  if (event.ctrlKey || event.metaKey) return;
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  const act = { "+": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8), 0: () => viewer.perform("reset") }[event.key];
  if (act) act();
  else if (event.shiftKey && (x || y)) window(viewer, viewer.view, 12 * x, 12 * y);
  else if (event.altKey && (x || y)) viewer.change({ x: viewer.view.x - 40 * x, y: viewer.view.y - 40 * y });
  else if (event.key in STEPS) viewer.step(STEPS[event.key]);
  else return;
  event.preventDefault();
}

/** Across changes the width, down the centre, both by the width: as on a workstation. */
function window(viewer, from, dx, dy) {
  viewer.change({ width: from.width * Math.exp(dx / 250), centre: from.centre + (dy * from.width) / 250 });
}

/** One pointer windows, or pans with shift or the middle button; two pinch and pan. */
function listenToDrags(viewer) {
  const { stage } = viewer;
  const held = new Map();
  let from = null;
  const begin = () => {
    from = { view: { ...viewer.view }, at: middle(held), apart: apart(held) };
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
    begin();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held.has(event.pointerId)) return;
    held.set(event.pointerId, event);
    move(viewer, held, from, event.shiftKey || event.buttons === 4);
  });
  for (const name of ["pointerup", "pointercancel"])
    stage.addEventListener(name, (event) => held.delete(event.pointerId) && begin());
}

function move(viewer, held, from, panning) {
  const unit = devicePixelRatio || 1;
  const at = middle(held);
  const [dx, dy] = [at.x - from.at.x, at.y - from.at.y];
  if (held.size < 2 && !panning) return window(viewer, from.view, dx, dy);
  const zoom = held.size < 2 ? from.view.zoom : Math.min(16, Math.max(1, (from.view.zoom * apart(held)) / from.apart));
  viewer.change({ zoom, x: from.view.x + dx * unit, y: from.view.y + dy * unit });
}

function middle(held) {
  const all = [...held.values()];
  const mean = (key) => all.reduce((sum, each) => sum + each[key], 0) / (all.length || 1);
  return { x: mean("clientX"), y: mean("clientY") };
}

function apart(held) {
  const [a, b] = [...held.values()];
  return b ? Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1 : 1;
}

function numberAt(strip, event) {
  const box = strip.getBoundingClientRect();
  return 1 + Math.floor(((event.clientX - box.left) / box.width) * Number(strip.dataset.slices));
}

function nearest(viewer, number) {
  const distances = viewer.series.slices.map((each) => Math.abs(each.number - number));
  return distances.indexOf(Math.min(...distances));
}
