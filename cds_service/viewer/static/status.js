// Keeps the status page up to date: by events, and by asking where there are none.
const page = document.querySelector("[data-source]");
const source = page.dataset.source;

function show({ html, href, ended }) {
  page.querySelector(".progress").innerHTML = html; // our own template, escaped there
  if (href) location.replace(href);
  return ended;
}

async function ask() {
  const answer = await fetch(`${source}/state`).catch(() => null);
  if (answer?.status === 404) return location.reload(); // the link has come to its end
  if (answer?.ok && show(await answer.json())) return undefined;
  return setTimeout(ask, 2000);
}

const events = new EventSource(`${source}/events`);
events.onmessage = (event) => show(JSON.parse(event.data)) && events.close();
events.onerror = () => events.readyState === EventSource.CLOSED && ask();
