// One slice on a canvas: the image, what lies over it, and what must be said of it.
const LINE = "#00e5ff";
const BARS_MM = [200, 100, 50, 20, 10, 5, 2, 1];

/** Where the image lies on a canvas of `box`, in its pixels. */
export function placed(box, slice, view) {
  const fit = Math.min(box.width, box.height / slice.shape);
  const width = fit * view.zoom;
  const height = width * slice.shape;
  return { width, height, left: (box.width - width) / 2 + view.x, top: (box.height - height) / 2 + view.y };
}

export function draw(context, box, scene) {
  const at = placed(box, scene.slice, scene.view);
  context.fillStyle = "#000";
  context.fillRect(0, 0, box.width, box.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(scene.image, at.left, at.top, at.width, at.height);
  context.globalAlpha = scene.view.opacity;
  if (scene.heat) drawHeat(context, at, scene.heat, scene.footer);
  drawLines(context, at, scene.lines, box.unit);
  context.globalAlpha = 1;
  drawWords(context, box, at, scene);
}

/** The part of the drawn overlay that lies over the image: it has a footer, and may have margins. */
function drawHeat(context, at, heat, footer) {
  const height = heat.naturalHeight - footer;
  const width = Math.min(heat.naturalWidth, Math.round((height * at.width) / at.height));
  const left = (heat.naturalWidth - width) >> 1;
  context.drawImage(heat, left, 0, width, height, at.left, at.top, at.width, at.height);
}

function drawLines(context, at, lines, unit) {
  const path = new Path2D();
  for (const line of lines) {
    for (let i = 0; i < line.length; i += 2)
      path[i ? "lineTo" : "moveTo"](at.left + line[i] * at.width, at.top + line[i + 1] * at.height);
    path.closePath();
  }
  for (const [colour, width] of [["#000", 3.5], [LINE, 1.75]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * unit;
    context.stroke(path);
  }
}

function drawWords(context, box, at, scene) {
  const { width, height, unit } = box;
  const edge = 10 * unit;
  const [left, right, top, bottom] = scene.slice.marks ?? ["", "", "", ""];
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  const say = (text, x, y, align, baseline) => {
    context.textAlign = align;
    context.textBaseline = baseline;
    context.lineWidth = 3 * unit;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  };
  say(left, edge, height / 2, "left", "middle");
  say(right, width - edge, height / 2, "right", "middle");
  say(top, width / 2, edge, "center", "top");
  say(bottom, width / 2, height - edge, "center", "bottom");
  const lift = width < 340 * unit && bottom ? 17 * unit : 0; // clear of the mark in the middle
  say("AI, not reviewed", edge, height - edge - lift, "left", "bottom");
  if (!scene.slice.marks) say("Orientation not stated", edge, height - edge - 17 * unit, "left", "bottom");
  context.font = `${12 * unit}px system-ui, sans-serif`;
  scene.corner.forEach((text, i) => say(text, edge, edge + 16 * unit * i, "left", "top"));
  drawScale(context, box, at, scene.slice, say);
}

/** A bar of round length; none where the geometry is not known. */
function drawScale(context, { width, height, unit }, at, slice, say) {
  if (!slice.width_mm) return;
  const pixelsPerMm = at.width / slice.width_mm;
  const mm = BARS_MM.find((length) => length * pixelsPerMm <= width / 4);
  if (!mm) return;
  const right = width - 10 * unit;
  const bottom = height - 12 * unit;
  const left = right - mm * pixelsPerMm;
  for (const [colour, line] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = line * unit;
    context.beginPath();
    context.moveTo(left, bottom - 6 * unit);
    context.lineTo(left, bottom);
    context.lineTo(right, bottom);
    context.lineTo(right, bottom - 6 * unit);
    context.stroke();
  }
  say(`${mm} mm`, right, bottom - 9 * unit, "right", "bottom");
}
