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
