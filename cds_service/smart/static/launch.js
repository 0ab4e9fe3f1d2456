"use strict";
// The verifier stays in this window: it is what proves that who comes back is who left.
const leave = document.getElementById("leave");
const arrive = document.getElementById("arrive");
if (leave) {
  try {
    sessionStorage.setItem(leave.dataset.state, leave.dataset.verifier);
    location.replace(leave.href);
  } catch {
    document.getElementById("said").textContent =
      "This browser lets no page in a frame keep anything: open it in a window of its own.";
  }
}
if (arrive) {
  const state = arrive.elements.state.value;
  try {
    arrive.elements.verifier.value = sessionStorage.getItem(state) ?? "";
    sessionStorage.removeItem(state);
  } catch {
    // without storage there is no verifier, and we are told so by the answer
  }
  history.replaceState(null, "", location.pathname); // the code has no place in a history
  arrive.submit();
}
