"use strict";
// One cursor over all panels: the slider, a finger or the mouse chooses a session, and each panel says what it knows of it.
(() => {
  const readings = JSON.parse(document.getElementById("readings").textContent);
  const count = readings.sessions.length;
  const panels = document.querySelector(".panels");
  const slider = document.querySelector(".slider");
  if (!panels || !count) return;
  const outputs = [...panels.querySelectorAll(".reading")];
  const say = (element, text) => { element.textContent = text; };

  function show(place) {
    panels.style.setProperty("--at", `${100 * (place + 0.5) / count}%`);
    slider.value = place;
    slider.setAttribute("aria-valuetext", readings.sessions[place]);
    say(document.querySelector(".session"), readings.sessions[place]);
    outputs.forEach((output, panel) => say(output, readings.panels[panel][place]));
    say(document.querySelector(".happened"), readings.happened[place] || "nothing is marked in this session");
  }

  function point(event) {
    const plot = event.target.closest(".plot");
    if (!plot) return;
    const box = plot.getBoundingClientRect();
    const place = Math.floor(count * (event.clientX - box.left) / box.width);
    show(Math.min(Math.max(place, 0), count - 1));
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const kind of ["pointermove", "pointerdown"]) panels.addEventListener(kind, point);
  panels.classList.add("live");
  show(count - 1);
})();
