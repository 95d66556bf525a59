// The page starts here: tabs, choices, and files that are dropped or pasted.
import { $, ask, element, machine, tellError } from "./page.js";
import { showPicture } from "./picture.js";
import { startVideos } from "./video.js";
import { startWebcam } from "./webcam.js";

function selectTab(tab, focus) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  $("smoothing").hidden = tab.id === "tab-picture";
  tellError("");
  if (focus) tab.focus();
  document.dispatchEvent(new CustomEvent("tab", { detail: tab.getAttribute("aria-controls") }));
}

function startTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => selectTab(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) selectTab(tabs[(place + step + tabs.length) % tabs.length], true);
      else if (event.key === "Home") selectTab(tabs[0], true);
      else if (event.key === "End") selectTab(tabs.at(-1), true);
      else return;
      event.preventDefault();
    });
  });
  selectTab(tabs[0]);
}

function startDrops(takers) {
  for (const area of document.querySelectorAll(".drop")) {
    const take = takers[area.dataset.for];
    const input = area.querySelector("input");
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = "";  // the same file may be chosen again
    });
    area.addEventListener("dragover", () => area.classList.add("over"));
    for (const name of ["dragleave", "drop"]) area.addEventListener(name, () => area.classList.remove("over"));
  }
  // Anywhere on the page, so that a near miss does not make the browser leave it.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    const open = document.querySelector("[role=tabpanel]:not([hidden])");
    if (files.length && takers[open.id]) takers[open.id](files);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length && !$("picture").hidden) takers.picture(files);
  });
}

async function start() {
  for (const place of document.querySelectorAll(".where")) place.textContent = machine;
  startTabs();
  const told = await ask("/api/choices");
  for (const [what, names] of Object.entries(told.offered)) {
    $("choices").elements[what].append(...names.map((name) => new Option(name, name)));
  }
  $("choices").addEventListener("submit", (event) => event.preventDefault());
  for (const [emotion, color] of Object.entries(told.emotions)) {
    const swatch = element("i");
    swatch.style.background = color;
    $("legend").append(element("li", {}, swatch, emotion));
  }
  const picture = showPicture(told);
  startDrops({ picture, video: startVideos(told) });
  startWebcam(told);
}

start().catch((error) => tellError(error.message));
