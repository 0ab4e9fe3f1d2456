"use strict";
// The page is whole without this file: it only adds a slider to the switch of each overlay.
for (const viewer of document.querySelectorAll(".viewer")) {
  const overlay = viewer.querySelector(".overlay");
  const slider = viewer.querySelector(".slider");
  const range = slider.querySelector("input");
  const shown = slider.querySelector("output");
  const presets = viewer.querySelectorAll("input[type=radio]");

  const show = (percent) => {
    overlay.style.opacity = String(percent / 100);
    range.setAttribute("aria-valuetext", percent + " per cent");
    shown.textContent = percent + "\u00a0%";
    for (const preset of presets) preset.checked = Number(preset.value) === percent;
  };
  range.addEventListener("input", () => show(Number(range.value)));
  for (const preset of presets) {
    preset.addEventListener("change", () => {
      range.value = preset.value;
      show(Number(preset.value));
    });
    if (preset.checked) range.value = preset.value; // a reloaded page keeps its switch
  }
  show(Number(range.value));
  slider.hidden = false;
}
