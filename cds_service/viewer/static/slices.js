// The slices of one series: fetched when they are needed, decoded once, forgotten when many.
const KEPT_BYTES = 192 * 1024 * 1024;

export async function openSeries(base) {
  const answer = await fetch(`${base}/slices.json`);
  if (answer.status !== 200) return null; // none are kept, or not yet
  const series = await answer.json();
  return { ...series, base, cache: new Map(), bytes: 0 };
}

/** The pixels of one slice: Uint16Array of stored values, or Uint8Array of RGB. */
export function pixels(series, slice) {
  const { cache } = series;
  const known = cache.get(slice.number);
  if (known) {
    cache.delete(slice.number); // what was used last goes last
    cache.set(slice.number, known);
    return known;
  }
  const asked = fetchPixels(series, slice).catch((error) => {
    cache.delete(slice.number);
    throw error;
  });
  cache.set(slice.number, asked);
  const room = Math.max(8, KEPT_BYTES / (slice.columns * slice.rows * 3));
  while (cache.size > room) cache.delete(cache.keys().next().value);
  return asked;
}

async function fetchPixels(series, slice) {
  const answer = await fetch(`${series.base}/slices/${slice.number}`);
  if (!answer.ok) throw new Error("a slice is not there");
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return slice.colour ? bytes : summed(bytes, slice.columns);
}

/** Each value was sent as the difference from its left neighbour, modulo 65,536. */
function summed(bytes, columns) {
  const values = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const difference = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    values[i] = i % columns ? values[i - 1] + difference : difference;
  }
  return values;
}

/** Stored values as grey by a window in modality units (PS3.3 C.11.2.1.2, linear exact). */
export function toImage(values, slice, series, view) {
  const image = new ImageData(slice.columns, slice.rows);
  const out = new Uint32Array(image.data.buffer);
  if (slice.colour) {
    for (let i = 0; i < out.length; i++)
      out[i] = 0xff000000 | (values[3 * i + 2] << 16) | (values[3 * i + 1] << 8) | values[3 * i];
    return image;
  }
  const greys = greysOf(series, view);
  for (let i = 0; i < out.length; i++) out[i] = greys[values[i]];
  return image;
}

function greysOf({ slope, intercept }, { centre, width }) {
  const greys = new Uint32Array(65536);
  for (let stored = 0; stored < 65536; stored++) {
    const part = (stored * slope + intercept - centre) / width + 0.5;
    const grey = Math.round(255 * Math.min(1, Math.max(0, part)));
    greys[stored] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return greys;
}
