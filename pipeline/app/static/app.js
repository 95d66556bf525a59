// Tabs, choices, and what the three flows share.
import { showPicture } from "./picture.js";
import { startVideos } from "./video.js";
import { startWebcam } from "./webcam.js";

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const percent = (part) => (part === null ? "–" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`);

export function tellError(sentence) {
  $("error").textContent = sentence || "";
  $("error").hidden = !sentence;
}

export const choices = () => new URLSearchParams(new FormData($("choices")));

// An answer's JSON; what went wrong is thrown as the server's own sentence.
export async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const told = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

// One face: its label, and a bar for each emotion. Made once, then only its numbers change.
export function faceCard(emotions) {
  const swatch = element("i");
  const name = element("span");
  const bars = element("dl", { className: "bars" });
  const parts = Object.entries(emotions).map(([emotion, color]) => {
    const fill = element("i");
    fill.style.background = color;
    const number = element("dd", { className: "number" });
    bars.append(element("dt", { textContent: emotion }), element("dd", { className: "track" }, fill), number);
    return { emotion, fill, number };
  });
  const card = element("li", {}, element("h3", {}, swatch, name), bars);
  const update = (title, face) => {
    swatch.style.background = emotions[face.emotion];
    name.textContent = `${title} ${face.emotion} ${percent(face.confidence)}`;
    for (const { emotion, fill, number } of parts) {
      const value = face.probabilities[emotion];
      fill.style.width = `${100 * (value ?? 0)}%`;
      number.textContent = percent(value);
    }
  };
  return { card, update };
}

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

const here = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
export const machine = here ? "this computer" : location.hostname;

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
