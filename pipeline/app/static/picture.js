// A picture: boxes over it, a card for each face, and a copy with the boxes drawn in.
import { $, ask, choices, faceCard, machine, MESH, percent, poseAxes, tellError } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawBoxes({ width, height, faces }, emotions) {
  const boxes = $("picture-boxes");
  boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
  boxes.replaceChildren();
  const size = Math.max(12, Math.round(Math.max(width, height) / 45));
  faces.forEach((face, place) => {
    const { x, y, w, h } = face;
    const at = { x, y, width: w, height: h };
    boxes.append(shape("rect", { ...at, class: "rim" }), shape("rect", { ...at, stroke: emotions[face.emotion] }));
    for (const { x1, y1, x2, y2, color } of poseAxes(face)) {
      boxes.append(shape("line", { x1, y1, x2, y2, stroke: color, "stroke-width": Math.max(1, w / 60) }));
    }
    for (const [cx, cy] of face.mesh ?? []) {
      boxes.append(shape("circle", { cx, cy, r: Math.max(0.5, w / 200), fill: MESH }));
    }
    const label = shape("text", {
      x, y: y > size * 1.4 ? y - size * 0.4 : y + h + size * 1.1, "font-size": size, fill: "#fff", stroke: "#000",
      "stroke-width": size / 6, "paint-order": "stroke", "font-weight": 600,
    });
    label.textContent = `#${place + 1} ${face.emotion} ${percent(face.confidence)}`;
    boxes.append(label);
  });
}

export function showPicture({ emotions, limits }) {
  let shown = null;  // the file last taken, and the address of its picture
  let latest = 0;

  async function look() {
    const mine = ++latest;
    $("picture-busy").hidden = false;
    tellError("");
    try {
      const told = await ask(`/api/picture?${choices()}`, { method: "POST", body: shown.file });
      if (mine !== latest) return;
      const image = $("picture-image");
      image.onerror = () => {  // a kind that the browser does not show, such as TIFF
        image.onerror = null;
        image.src = told.annotated;
        $("picture-boxes").replaceChildren();
      };
      image.src = shown.address;
      drawBoxes(told, emotions);
      const count = told.faces.length;
      $("picture-told").textContent = count ? `${count} face${count > 1 ? "s" : ""}` : "No face was found.";
      $("picture-faces").replaceChildren(
        ...told.faces.map((face, place) => {
          const { card, update } = faceCard(emotions);
          update(`#${place + 1}`, face);
          return card;
        }),
      );
      const save = $("picture-save");
      save.href = told.annotated;
      save.download = `${shown.file.name.replace(/\.[^.]*$/, "") || "picture"}-annotated.jpg`;
      $("picture-result").hidden = false;
    } catch (error) {
      if (mine !== latest) return;
      $("picture-result").hidden = true;
      tellError(error.message);
    } finally {
      if (mine === latest) $("picture-busy").hidden = true;
    }
  }

  $("choices").addEventListener("change", () => {
    if (shown && !$("picture").hidden) look();
  });

  return ([file]) => {
    if (!file) return;
    if (file.size > limits.picture_bytes) {
      tellError(`The picture is larger than ${limits.picture_bytes / 2 ** 20} MB, the most that ${machine} takes.`);
      return;
    }
    if (shown) URL.revokeObjectURL(shown.address);
    shown = { file, address: URL.createObjectURL(file) };
    look();
  };
}
