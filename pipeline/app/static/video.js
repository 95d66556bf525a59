// Videos: sent one after the other, followed while they run, then shown.
import { $, ask, choices, element, machine, tellError } from "./page.js";

const POLL_MS = 500;

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

// fetch does not tell how much was sent.
function send(file, onProgress, register) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const asked = choices();
    asked.set("name", file.name);
    request.open("POST", `/api/videos?${asked}`);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* told stays empty */ }
      if (request.status === 201) resolve(told);
      else reject(new Error(told.error || "The server refused the video."));
    };
    request.onerror = () => reject(new Error("The video could not be sent; is the server still running?"));
    request.onabort = () => reject(null);
    register(() => request.abort());
    request.send(file);
  });
}

// One row of the list; `update` is told a video as the server sees it.
function row(name, onRemove) {
  const state = element("span", { className: "soft" });
  const remove = element("button", { type: "button", textContent: "Cancel", onclick: onRemove });
  remove.setAttribute("aria-label", `Cancel ${name}`);
  const progress = element("progress", { max: 1 });
  progress.setAttribute("aria-label", `Progress of ${name}`);
  const rest = element("div");
  const head = element("div", { className: "head" }, element("b", { textContent: name }), state, remove);
  const item = element("li", {}, head, progress, rest);
  let finished = false;
  const sending = (part) => {
    state.textContent = `Sending, ${Math.round(100 * part)} %`;
    progress.value = part;
  };
  const update = (video) => {
    item.dataset.status = video.status;
    if (finished) return;
    if (video.status === "queued") {
      state.textContent = "Waiting for its turn";
      progress.removeAttribute("value");
    } else if (video.status === "running") {
      const looking = video.done_s < video.duration_s;
      const time = `${clock(video.done_s)} of ${clock(video.duration_s)}, ${video.faces} faces at samples`;
      state.textContent = looking ? `${video.stage}: ${time}` : `${video.stage}…`;
      if (looking && video.done_s > 0) progress.value = video.done_s / video.duration_s;
      else progress.removeAttribute("value");
    } else {
      finished = true;
      progress.remove();
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${name}`);
      if (video.status === "done") {
        state.textContent = `Done, ${clock(video.duration_s)}, ${video.faces} faces at samples`;
        rest.replaceChildren(...results(video));
      } else if (video.status === "failed") {
        state.textContent = "";
        rest.replaceChildren(element("p", { className: "error", textContent: video.error }));
      } else {
        state.textContent = "Cancelled";
      }
    }
  };
  return { item, update, sending };
}

function results(video) {
  const base = `/videos/${video.id}/`;
  const clip = element("video", { controls: true, preload: "metadata", src: base + video.clip, playsInline: true });
  clip.setAttribute("aria-label", `${video.name} with what was seen drawn in`);
  const links = element(
    "div",
    { className: "links" },
    element("a", { className: "button", href: base + video.report, target: "_blank", rel: "noopener", textContent: "Report" }),
    element("a", { className: "button", href: base + video.tables, download: `${video.stem}-tables.zip`, textContent: "Tables (Parquet)" }),
    element("a", { className: "button", href: base + video.clip, download: `${video.stem}-annotated.mp4`, textContent: "Annotated clip" }),
  );
  const note = video.note ? [element("p", { className: "soft", textContent: video.note })] : [];
  return [...note, clip, links];
}

export function startVideos({ limits }) {
  const rows = new Map();  // by the server's id
  let polling = false;

  $("video-limits").textContent =
    `Up to ${limits.video_bytes / 2 ** 30} GB and ${limits.video_seconds / 60} minutes each. ` +
    `They run on ${machine}, and their files are removed when you remove them or the server ends.`;

  function show(video) {
    if (!rows.has(video.id)) {
      const made = row(video.name, () => remove(video.id));
      rows.set(video.id, made);
      $("videos").prepend(made.item);
    }
    rows.get(video.id).update(video);
  }

  async function remove(id) {
    try {
      const over = !["queued", "running"].includes(rows.get(id).item.dataset.status);
      await ask(`/api/videos/${id}`, { method: "DELETE" });
      if (over) {
        rows.get(id).item.remove();
        rows.delete(id);
      }
    } catch (error) {
      tellError(error.message);
    }
    poll();
  }

  async function poll() {
    if (polling) return;
    polling = true;
    try {
      for (;;) {
        const videos = await ask("/api/videos");
        videos.forEach(show);
        const kept = new Set(videos.map((video) => video.id));
        for (const [id, { item }] of rows) {
          if (!kept.has(id)) { item.remove(); rows.delete(id); }
        }
        if (!videos.some((video) => ["queued", "running"].includes(video.status))) break;
        await new Promise((wake) => setTimeout(wake, POLL_MS));
      }
    } catch (error) {
      tellError(error.message);
    } finally {
      polling = false;
    }
  }

  let turn = Promise.resolve();

  async function take(file) {
    let abort = () => {};
    let given_up = false;
    const made = row(file.name, () => { given_up = true; abort(); made.item.remove(); });
    $("videos").prepend(made.item);
    made.sending(0);
    await (turn = turn.then(async () => {
      if (given_up) return;
      try {
        if (file.size > limits.video_bytes) {
          throw new Error(`The video is larger than ${limits.video_bytes / 2 ** 30} GB; affectline run takes any size.`);
        }
        const video = await send(file, made.sending, (stop) => { abort = stop; });
        made.item.remove();
        show(video);
        poll();
      } catch (error) {
        if (error) made.update({ status: "failed", error: error.message });
      }
    }));
  }

  document.addEventListener("tab", (event) => { if (event.detail === "video") poll(); });
  if (!$("video").hidden) poll();  // the tab was chosen before there was anyone to tell
  return (files) => { tellError(""); files.forEach(take); };
}
