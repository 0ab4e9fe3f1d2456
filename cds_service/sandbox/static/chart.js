// While an analysis is running, ask again and put the new chart in place of the old one.
// Without script the page reloads itself instead.
async function again() {
  const chart = document.getElementById("chart");
  try {
    const answer = await fetch(`?again=${chart.dataset.again}`, { cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("chart");
    if (document.querySelector("#chart details[open]")) {
      // somebody reads: change only what they are not reading
      chart.querySelector("aside").replaceWith(fresh.querySelector("aside"));
      Object.assign(chart.dataset, fresh.dataset);
    } else {
      chart.replaceWith(fresh);
    }
  } catch {
    return;
  }
  plan();
}

function plan() {
  const seconds = Number(document.getElementById("chart").dataset.refreshS);
  if (seconds > 0) setTimeout(again, seconds * 1000);
}

plan();
