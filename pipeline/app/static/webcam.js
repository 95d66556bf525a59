// The webcam: each frame goes to the server as a JPEG, and is shown with the faces found in it.
import { $, choices, faceCard, machine, MESH, percent, poseAxes, tellError } from "./page.js";

const WIDTH = 640, HEIGHT = 480;
const JPEG_QUALITY = 0.8;
const MINUTE_MS = 60_000;
const STEP_MS = 100;  // of the timeline
const LANES = 3;
const GONE_MS = 500;  // before a face's card goes
const SPEED_MS = 250;  // between updates of the figures and of the timeline

class Timeline {
  constructor(canvas, emotions) {
    this.canvas = canvas;
    this.emotions = emotions;
    this.tracks = new Map();  // number: [{ at, probabilities }], the oldest first
  }

  add(at, faces) {
    for (const { track, probabilities } of faces) {
      if (!this.tracks.has(track)) this.tracks.set(track, []);
      const points = this.tracks.get(track);
      if (!points.length || at - points.at(-1).at >= STEP_MS) points.push({ at, probabilities });
    }
    for (const [track, points] of this.tracks) {
      while (points.length && points[0].at < at - MINUTE_MS) points.shift();
      if (!points.length) this.tracks.delete(track);
    }
  }

  draw(now) {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    context.font = `12px ${style.fontFamily}`;
    const left = 34, floor = height - 18;
    const x = (at) => left + (1 - (now - at) / MINUTE_MS) * (width - left - 6);
    // The longest seen of those in the minute, by number.
    const lanes = [...this.tracks]
      .sort((one, other) => other[1].length - one[1].length).slice(0, LANES).sort((one, other) => one[0] - other[0]);
    const step = floor / Math.max(1, lanes.length);
    lanes.forEach(([track, points], lane) => {
      const top = lane * step + 5, tall = step - 10;
      points.forEach(({ at, probabilities }, place) => {
        const next = points[place + 1]?.at ?? at + STEP_MS;
        const start = Math.floor(x(at)), end = Math.ceil(x(Math.min(next, at + 4 * STEP_MS)));
        let y = top + tall;
        for (const [emotion, color] of Object.entries(this.emotions)) {
          const part = tall * (probabilities[emotion] ?? 0);
          context.fillStyle = color;
          context.fillRect(start, y - part, end - start, part);
          y -= part;
        }
      });
      context.fillStyle = style.color;
      context.fillText(`#${track}`, 6, top + tall / 2 + 4);
    });
    context.fillStyle = style.color;
    context.globalAlpha = 0.7;
    for (const seconds of [60, 45, 30, 15, 0]) {
      context.textAlign = seconds === 0 ? "right" : seconds === 60 ? "left" : "center";
      context.fillText(seconds ? `−${seconds} s` : "now", x(now - 1000 * seconds), height - 5);
    }
    context.textAlign = "left";
    context.globalAlpha = 1;
  }
}

// Draws a frame as in a mirror, which is how people know themselves, with labels that can be read.
function drawFrame(context, frame, faces, emotions) {
  context.save();
  context.scale(-1, 1);
  context.drawImage(frame, -WIDTH, 0, WIDTH, HEIGHT);
  context.restore();
  context.font = "600 16px system-ui, sans-serif";
  context.lineJoin = "round";
  for (const face of faces) {
    const x = WIDTH - face.x - face.w;
    context.lineWidth = 6;
    context.strokeStyle = "rgba(0,0,0,.75)";
    context.strokeRect(x, face.y, face.w, face.h);
    context.lineWidth = 3;
    context.strokeStyle = emotions[face.emotion];
    context.strokeRect(x, face.y, face.w, face.h);
    // The frame is mirrored, and so are the places in it.
    for (const { x1, y1, x2, y2, color } of poseAxes(face)) {
      context.strokeStyle = color;
      context.beginPath();
      context.moveTo(WIDTH - x1, y1);
      context.lineTo(WIDTH - x2, y2);
      context.stroke();
    }
    context.fillStyle = MESH;
    for (const [left, top] of face.mesh ?? []) context.fillRect(WIDTH - left - 1, top, 1, 1);
    const label = `#${face.track} ${face.emotion} ${percent(face.confidence)}`;
    const y = face.y > 26 ? face.y - 8 : face.y + face.h + 20;
    context.lineWidth = 4;
    context.strokeStyle = "#000";
    context.strokeText(label, x, y);
    context.fillStyle = "#fff";
    context.fillText(label, x, y);
  }
}

class Session {
  constructor(emotions, cards, timeline, onEnd) {
    Object.assign(this, { emotions, cards, timeline, onEnd });
    this.view = $("webcam-view").getContext("2d");
    this.frame = new OffscreenCanvas(WIDTH, HEIGHT);
    this.latencies = [];  // { at, ms } of the last seconds
    this.toldAt = 0;
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  }

  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives the webcam only to pages of this computer; open this one as http://127.0.0.1.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: false, video: { width: WIDTH, height: HEIGHT, frameRate: { ideal: 30 } },
      });
    } catch (error) {
      throw new Error(error.name === "NotAllowedError"
        ? "The browser did not allow the webcam; allow it for this page and start again."
        : "No webcam could be opened; check that one is there and that no other program uses it.");
    }
    this.stream.getVideoTracks()[0].onended = () => this.end("The webcam was disconnected.");
    this.video.srcObject = this.stream;
    await this.video.play();
    this.socket = new WebSocket(`ws${location.protocol === "https:" ? "s" : ""}://${location.host}/api/live?${choices()}`);
    this.socket.binaryType = "blob";
    this.socket.onmessage = (event) => this.hear(JSON.parse(event.data));
    this.socket.onclose = () => this.end("The server ended the connection; is it still running?");
  }

  hear(told) {
    if (this.over) return;
    if (told.error) { this.end(told.error); return; }
    if (told.faces) this.show(told.faces);
    // One frame is under way at a time, and the next one is the newest: nothing ever queues.
    this.video.requestVideoFrameCallback(() => this.capture());
  }

  async capture() {
    if (this.over) return;
    this.capturedAt = performance.now();
    const context = this.frame.getContext("2d", { willReadFrequently: true });
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.max(WIDTH / videoWidth, HEIGHT / videoHeight);
    const width = videoWidth * scale, height = videoHeight * scale;
    context.drawImage(this.video, (WIDTH - width) / 2, (HEIGHT - height) / 2, width, height);
    const jpeg = await this.frame.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
    if (!this.over && this.socket.readyState === WebSocket.OPEN) this.socket.send(jpeg);
  }

  show(faces) {
    drawFrame(this.view, this.frame, faces, this.emotions);
    const now = performance.now();
    this.latencies.push({ at: now, ms: now - this.capturedAt });
    while (this.latencies[0].at < now - 3000) this.latencies.shift();
    this.timeline.add(now, faces);
    this.cards.show(now, faces);
    if (now - this.toldAt > SPEED_MS) {
      this.toldAt = now;
      this.timeline.draw(now);
      const sorted = this.latencies.map(({ ms }) => ms).sort((one, other) => one - other);
      const rate = this.latencies.length > 1
        ? (1000 * (this.latencies.length - 1)) / (now - this.latencies[0].at) : 0;
      const within = (part) => sorted[Math.floor((sorted.length - 1) * part)].toFixed(0);
      $("webcam-speed").textContent = `${within(0.5)} ms from frame to overlay, ${rate.toFixed(0)} frames a second`;
      $("webcam-speed").title = `95 % of the frames within ${within(0.95)} ms, over the last 3 seconds`;
    }
  }

  end(sentence) {
    if (this.over) return;
    this.over = true;
    this.socket?.close();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.onEnd(sentence);
  }
}

class Cards {
  constructor(list, emotions) {
    this.list = list;
    this.emotions = emotions;
    this.shown = new Map();  // number of the track: its card
    this.updatedAt = 0;
  }

  show(now, faces) {
    for (const face of faces) {
      if (!this.shown.has(face.track)) {
        this.shown.set(face.track, faceCard(this.emotions));
        this.list.append(this.shown.get(face.track).card);
      }
      this.shown.get(face.track).seen = now;
    }
    for (const [track, card] of this.shown) {
      if (now - card.seen > GONE_MS) { card.card.remove(); this.shown.delete(track); }
    }
    if (now - this.updatedAt < 100) return;  // numbers that change faster cannot be read
    this.updatedAt = now;
    for (const face of faces) this.shown.get(face.track).update(`#${face.track}`, face);
  }

  clear() {
    this.list.replaceChildren();
    this.shown.clear();
  }
}

export function startWebcam({ emotions }) {
  const cards = new Cards($("webcam-faces"), emotions);
  let timeline = new Timeline($("webcam-timeline"), emotions);
  let session = null;

  function indicate(on) {
    $("webcam-switch").textContent = on ? "Stop the webcam" : "Start the webcam";
    $("webcam-indicator").classList.toggle("on", on);
    $("webcam-indicator").textContent = on
      ? `Camera on. Its frames go to ${machine} only and are not stored.`
      : `Camera off. Frames will go to ${machine} only and will not be stored.`;
  }

  async function start() {
    tellError("");
    cards.clear();
    timeline = new Timeline($("webcam-timeline"), emotions);
    const mine = new Session(emotions, cards, timeline, (sentence) => {
      if (session === mine) session = null;
      indicate(false);
      cards.clear();
      const view = $("webcam-view");
      view.getContext("2d").clearRect(0, 0, view.width, view.height);
      $("webcam-speed").textContent = "";
      if (sentence) tellError(sentence);
    });
    session = mine;
    try {
      await mine.start();
      if (!mine.over) indicate(true);
    } catch (error) {
      mine.end(error.message);
    }
  }

  $("webcam-switch").addEventListener("click", () => (session ? session.end("") : start()));
  $("choices").addEventListener("change", () => {
    if (session) { session.end(""); start(); }
  });
  document.addEventListener("tab", (event) => {
    if (event.detail !== "webcam" && session) session.end("");
  });
  new ResizeObserver(() => timeline.draw(performance.now())).observe($("webcam-timeline"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.draw(performance.now()));
  indicate(false);
}
