// What the three flows share: the page's parts, choices, requests, and the card of a face.
export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const percent = (part) => (part == null ? "–" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`);

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

export const MESH = "#78ffc8";
const AXES = ["#e63c3c", "#3cc83c", "#5082ff"];  // to the person's left, up, forward

// How a head is turned, as a small cross in its box's lower right corner: [{ x1, y1, x2, y2, color }], the nearest
// last; none where it is not known. As pipeline/draw draws it.
export function poseAxes({ x, y, w, h, yaw, pitch, roll }) {
  if (yaw == null) return [];
  const [t, p, r] = [yaw, -(pitch ?? 0), roll].map((degrees) => (degrees * Math.PI) / 180);
  const tilted = ([a, b, away]) => [a * Math.cos(r) - b * Math.sin(r), a * Math.sin(r) + b * Math.cos(r), away];
  const length = 0.16 * Math.min(w, h);
  const [x1, y1] = [x + w - 1.2 * length, y + h - 1.2 * length];
  return [
    [Math.cos(t), 0, Math.sin(t)],
    [Math.sin(t) * Math.sin(p), -Math.cos(p), -Math.cos(t) * Math.sin(p)],
    [Math.sin(t) * Math.cos(p), Math.sin(p), -Math.cos(t) * Math.cos(p)],
  ].map(tilted).map(([a, b, away], place) => (
    { x1, y1, x2: x1 + length * a, y2: y1 + length * b, away, color: AXES[place] }
  )).sort((one, other) => other.away - one.away);
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

const here = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
export const machine = here ? "this computer" : location.hostname;
