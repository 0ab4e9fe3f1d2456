// While an analysis is running, ask again and put what is new in place; the drawer shows what is
// known when it is opened, and while it stays open. Without script the page reloads itself instead,
// and the drawer holds what was known when the page was made.
const DRAWER_S = 3;
const drawer = document.getElementById("drawer");

async function fetched(url) {
  const answer = await fetch(url, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function again() {
  const { again } = document.getElementById("imaging").dataset;
  let page;
  try {
    page = await fetched(`?again=${again}`);
  } catch {
    return;
  }
  const reading = document.querySelector("#cards .aside[open]");
  for (const id of ["cards", "imaging", "reports"]) {
    if (id !== "cards" || !reading) document.getElementById(id).replaceWith(page.getElementById(id));
  }
  // a live region speaks when its text changes, so it stays and only its text is exchanged
  const [waiting, said] = [document, page].map((each) => each.getElementById("waiting"));
  const words = said.textContent.trim() || "The result is there.";
  if (waiting.textContent.trim() !== words) waiting.textContent = words;
  plan();
}

function plan() {
  const seconds = Number(document.getElementById("imaging")?.dataset.refreshS);
  if (seconds > 0) setTimeout(again, seconds * 1000);
}

async function fill() {
  if (!drawer.open) return;
  const wire = document.getElementById("wire");
  try {
    const fresh = await fetched(drawer.dataset.url);
    if (!wire.querySelector("details[open]")) wire.replaceChildren(...fresh.body.childNodes);
  } catch {
    return;
  }
  setTimeout(fill, DRAWER_S * 1000);
}

drawer.addEventListener("toggle", fill);
plan();
