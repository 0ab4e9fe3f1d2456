// Adds to the page what needs script: a slider for each overlay, the viewer, a reason for "disagree".
import { mount } from "./viewer.js";

function overlay(figure) {
  const slider = figure.querySelector(".slider");
  if (!slider) return;
  const range = slider.querySelector("input");
  const presets = figure.querySelectorAll("input[type=radio]");
  const show = (percent) => {
    figure.querySelector(".overlay").style.opacity = String(percent / 100);
    figure.viewer?.change({ opacity: percent / 100 });
    range.setAttribute("aria-valuetext", `${percent} per cent`);
    slider.querySelector("output").textContent = `${percent}\u00a0%`;
    for (const preset of presets) preset.checked = Number(preset.value) === percent;
  };
  range.addEventListener("input", () => show(Number(range.value)));
  for (const preset of presets) {
    preset.addEventListener("change", () => show(Number((range.value = preset.value))));
    if (preset.checked) range.value = preset.value; // a reloaded page keeps its switch
  }
  show(Number(range.value));
  slider.hidden = false;
}

function feedback(form) {
  const reason = form.querySelector(".reasons");
  const follow = () => {
    reason.hidden = form.elements.verdict.value !== "disagree";
    form.elements.reason.required = !reason.hidden;
  };
  form.addEventListener("change", follow);
  follow();
}

for (const figure of document.querySelectorAll(".viewer")) {
  overlay(figure);
  mount(figure).catch(() => null); // the still picture stays
}
for (const form of document.querySelectorAll("form.feedback")) feedback(form);
