// Looks again by itself, unless the reader stopped it, is somewhere else, or is about to press.
const main = document.querySelector("main");
let stopped = false;

function offerPause() {
  const pause = document.querySelector(".pause");
  pause.hidden = false;
  pause.setAttribute("aria-pressed", String(stopped));
}

document.addEventListener("click", (event) => {
  if (!event.target.matches?.(".pause")) return;
  stopped = !stopped;
  offerPause();
});

const isInUse = () => main.querySelector(":focus:not(.pause), :active") !== null;

async function look() {
  if (stopped || document.hidden || isInUse()) return;
  const answer = await fetch(location.href).catch(() => null);
  const text = await answer?.text().catch(() => "");
  const fresh = new DOMParser().parseFromString(text ?? "", "text/html");
  const found = fresh.querySelector("main");
  if (!found || isInUse()) return;
  const held = document.activeElement?.matches(".pause");
  document.title = fresh.title;
  main.innerHTML = found.innerHTML; // our own template, escaped there
  if (answer.ok) offerPause();
  if (held) document.querySelector(".pause")?.focus();
}

offerPause();
setInterval(look, 1000 * Number(main.dataset.refresh));
