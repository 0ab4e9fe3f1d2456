// The picture of a result as a viewer: scroll, window, zoom, pan. The page is whole without it.
import { draw } from "./picture.js";
import { openSeries, pixels, toImage } from "./slices.js";
import { listen } from "./gestures.js";

export async function mount(figure) {
  const series = await openSeries(figure.dataset.base);
  if (!series || !series.slices.length) return;
  const viewer = new Viewer(figure, series);
  await viewer.show(viewer.start);
  if (viewer.shown) viewer.begin();
}

class Viewer {
  constructor(figure, series) {
    this.figure = figure;
    this.series = series;
    this.find = (name) => figure.querySelector(name);
    this.stage = this.find(".stage");
    this.canvas = document.createElement("canvas");
    this.heat = this.find("img.overlay");
    this.start = Math.max(0, series.slices.findIndex((each) => each.number === series.first));
    const strength = Number(this.find(".slider input")?.value ?? 100);
    this.view = { zoom: 1, x: 0, y: 0, opacity: strength / 100, ...this.preset(0) };
  }

  /** The first preset is each slice's own window, followed until the reader changes it. */
  preset(index) {
    const { centre, width } = this.series.windows[index] ?? { centre: 0.5, width: 1 };
    const own = index ? null : this.shown?.window;
    return { centre: own?.[0] ?? centre, width: own?.[1] ?? width, follows: !index };
  }

  get slice() {
    return this.series.slices[this.index];
  }

  /** Put the canvas over the still picture, and the controls under it. */
  begin() {
    this.canvas.setAttribute("role", "img");
    this.stage.append(this.canvas);
    this.stage.tabIndex = 0;
    this.figure.classList.add("live");
    this.figure.viewer = this;
    this.setUpTools();
    listen(this);
    new ResizeObserver(() => this.paint()).observe(this.stage);
    this.paint();
    this.tell();
  }

  setUpTools() {
    const slider = this.find(".scroll input");
    slider.max = String(this.series.slices.length - 1);
    this.find(".scroll").hidden = this.series.slices.length < 2;
    slider.addEventListener("input", () => this.show(Number(slider.value)));
    const presets = this.find(".presets");
    this.series.windows.forEach(({ name }, i) => presets.add(new Option(name, String(i))));
    presets.closest("label").hidden = !this.series.windows.length;
    presets.addEventListener("change", () => this.change(this.preset(Number(presets.value))));
    for (const button of this.figure.querySelectorAll("button[data-do]"))
      button.addEventListener("click", () => this.perform(button.dataset.do));
    this.find(".tools").hidden = false;
  }

  perform(what) {
    if (what === "in") this.zoom(1.25);
    if (what === "out") this.zoom(0.8);
    if (what === "reset") this.change({ zoom: 1, x: 0, y: 0, ...this.preset(0) });
  }

  change(part) {
    Object.assign(this.view, "centre" in part ? { follows: false, ...part } : part);
    const { centre, width, follows } = this.view;
    const chosen = (each, i) => (i ? each.centre === centre && each.width === width : follows);
    this.find(".presets").selectedIndex = this.series.windows.findIndex(chosen); // -1: none of them
    if ("centre" in part || "width" in part) this.renderImage();
    this.paint();
  }

  zoom(factor) {
    const zoom = Math.min(16, Math.max(1, this.view.zoom * factor));
    const ratio = zoom / this.view.zoom;
    this.change(zoom === 1 ? { zoom, x: 0, y: 0 } : { zoom, x: this.view.x * ratio, y: this.view.y * ratio });
  }

  step(by) {
    this.show(Math.min(this.series.slices.length - 1, Math.max(0, this.index + by)));
  }

  /** Show the slice at an index; what arrives late, after another was asked for, is left. */
  async show(index) {
    if (index === this.index) return;
    this.index = index;
    const values = await pixels(this.series, this.slice).catch(() => null);
    if (this.index !== index) return;
    if (!values) return this.stay();
    this.values = values;
    this.shown = this.slice;
    if (this.view.follows) Object.assign(this.view, this.preset(0));
    this.renderImage();
    this.paint();
    this.tell();
    for (const next of [index + 1, index - 1])
      if (this.series.slices[next]) pixels(this.series, this.series.slices[next]).catch(() => null);
  }

  /** The slice asked for cannot be had, as when the link has expired: what is shown stays. */
  stay() {
    if (!this.shown) return;
    const missed = this.slice.number;
    this.index = this.series.slices.indexOf(this.shown);
    this.tell();
    this.find(".scroll output").textContent = `Slice ${missed} cannot be loaded`;
  }

  renderImage() {
    this.image ??= document.createElement("canvas");
    this.image.width = this.shown.columns;
    this.image.height = this.shown.rows;
    this.image.getContext("2d").putImageData(toImage(this.values, this.shown, this.series, this.view), 0, 0);
  }

  paint() {
    const unit = window.devicePixelRatio || 1;
    const box = { width: Math.round(this.stage.clientWidth * unit), height: Math.round(this.stage.clientHeight * unit), unit };
    if (!this.canvas.isConnected || !box.width) return;
    if (this.canvas.width !== box.width) this.canvas.width = box.width;
    if (this.canvas.height !== box.height) this.canvas.height = box.height;
    draw(this.canvas.getContext("2d"), box, this.scene());
  }

  scene() {
    const { slice, view, series } = { slice: this.shown, view: this.view, series: this.series };
    const here = this.heat && slice.number === series.heated && this.heat.naturalWidth;
    const number = `Slice ${slice.number} of ${series.total}`;
    const window = slice.colour ? [] : [`C ${rounded(view.centre)}  W ${rounded(view.width)}`];
    const corner = [...(series.total > 1 ? [number] : []), ...window, ...this.absent()];
    const lines = series.lines[slice.number] ?? [];
    // an outline is drawn from its own corners: sharper than the picture of it
    return { slice, view, image: this.image, heat: here ? this.heat : null, lines, footer: series.footer, corner };
  }

  /** In short, that nothing lies over the slice because nothing was made for it. */
  absent() {
    const { number } = this.shown;
    const bare = this.heat && number !== this.series.heated && !this.series.lines[number];
    return bare ? [this.find(".elsewhere").dataset.short] : [];
  }

  /** Say in words, for eyes and for screen readers, what is shown. */
  tell() {
    const { number } = this.shown;
    const said = this.series.said[number] ?? "";
    const where = `Slice ${number} of ${this.series.total}`;
    const absent = this.absent();
    const words = [where, ...(said ? [said] : []), ...absent].join(", ");
    this.canvas.setAttribute("aria-label", words);
    const slider = this.find(".scroll input");
    slider.value = String(this.index);
    slider.setAttribute("aria-valuetext", words);
    this.find(".scroll output").textContent = said ? `${number} · ${said}` : String(number);
    const mark = document.querySelector(`#here-${this.figure.dataset.index}`);
    if (mark) mark.setAttribute("x", String(10 * (number - 1)));
    if (this.heat) this.find(".elsewhere").hidden = !absent.length;
  }
}

const rounded = (value) => (Math.abs(value) >= 10 ? Math.round(value) : Number(value.toPrecision(3)));
