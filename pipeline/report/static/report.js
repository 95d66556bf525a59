// One page, one script: curves, bands, moments and keys share its state, hence its length.
"use strict";
// Sorting and searching in the index; charts on a video's page. All text comes in as text.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// ------------------------------------------------------------------------------------------ index

function index(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => {
    const numbers = row.dataset.keys.split(" ").map(Number);
    const name = row.cells[0].textContent.toLowerCase();
    const problem = row.cells[6].textContent.trim().toLowerCase();
    const most = Math.max(...numbers.slice(4));
    // In the order of the columns, then of the emotions.
    return { row, text: `${name} ${problem}`, keys: [name, ...numbers.slice(0, 4), most, problem, ...numbers.slice(4)] };
  });
  const buttons = [...document.querySelectorAll("[data-sort]")];
  let column = 0, down = false;

  function sort(by, descending) {
    [column, down] = [by, descending];
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [a.keys[by], b.keys[by]];
      if (x === y) return a.keys[0] < b.keys[0] ? -1 : 1;
      return sign * (x < y ? -1 : 1);
    });
    body.append(...rows.map((entry) => entry.row));
    for (const button of buttons) {
      const chosen = Number(button.dataset.sort) === by;
      const head = button.closest("th");
      if (head) head.setAttribute("aria-sort", chosen ? (down ? "descending" : "ascending") : "none");
      else button.setAttribute("aria-pressed", chosen);
    }
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const by = Number(button.dataset.sort);
      sort(by, by === column ? !down : by !== 0);
    });
  }
  const found = document.getElementById("found");
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    let count = 0;
    for (const entry of rows) {
      const match = words.every((word) => entry.text.includes(word));
      entry.row.hidden = !match;
      count += match;
    }
    found.textContent = `${count} of ${rows.length}`;
  });
  sort(0, false);
}

// ----------------------------------------------------------------------------------------- charts

// Of the seven, and again of what is beside them.
const DASHES = [[], [9, 4], [2, 3], [], [12, 4, 2, 4], [5, 5], [1, 4]];
const WIDTHS = [1.6, 1.6, 1.8, 2.6, 1.6, 1.6, 1.6];
const BAND_TOP = -0.04, BAND_BOTTOM = -0.2;

function clock(ms, digits = 0) {
  const units = Math.round(ms / 10 ** (3 - digits));
  const whole = Math.floor(units / 10 ** digits);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const text = h ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}` : `${m}:${String(s).padStart(2, "0")}`;
  return digits ? `${text}.${String(units % 10 ** digits).padStart(digits, "0")}` : text;
}

const percent = (thousandths) => `${(thousandths / 10).toFixed(1)} %`;

function hatch(number) {
  const source = document.querySelectorAll("#e" + number + " path");
  const tile = document.createElement("canvas");
  const scale = devicePixelRatio || 1;
  tile.width = tile.height = 6 * scale;
  const context = tile.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = source[0].getAttribute("fill");
  context.fillRect(0, 0, 6, 6);
  if (source[1]) {
    context.strokeStyle = "rgba(0,0,0,.45)";
    context.stroke(new Path2D(source[1].getAttribute("d")));
  }
  return context.createPattern(tile, "repeat");
}

function page(data) {
  const emotions = data.emotions;
  const duration = Math.max(data.duration, 1);
  const colors = emotions.map((_, number) => document.querySelector(`#e${number} path`).getAttribute("fill"));
  const hatches = emotions.map((_, number) => hatch(number));
  const charts = new Map(); // element → uPlot
  const view = { min: 0, max: duration };
  const shown = document.getElementById("view");
  const hidden = new Set([...emotions.keys()].filter((number) => !data.known.includes(number)));
  let raw = false;
  let moving = false;

  // --- one view of time for all charts

  function show(min, max) {
    const width = Math.min(duration, Math.max(max - min, Math.min(500, duration)));
    view.min = Math.min(Math.max(0, min), duration - width);
    view.max = view.min + width;
    moving = true;
    for (const chart of charts.values()) chart.setScale("x", view);
    moving = false;
    if (shown) shown.textContent = `${clock(view.min, 1)} to ${clock(view.max, 1)}`;
  }
  function zoom(factor, at = (view.min + view.max) / 2) {
    show(at - (at - view.min) * factor, at + (view.max - at) * factor);
  }
  function move(how) {
    const width = view.max - view.min;
    if (how === "in") zoom(0.5);
    if (how === "out") zoom(2);
    if (how === "left") show(view.min - width / 4, view.max - width / 4);
    if (how === "right") show(view.min + width / 4, view.max + width / 4);
    if (how === "all") show(0, duration);
  }

  // --- what all charts have in common

  function options(element, height, rest) {
    return {
      width: Math.max(200, element.clientWidth),
      height,
      legend: { show: false },
      padding: [8, 14, 0, 0],
      cursor: {
        sync: { key: "time", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        drag: { x: true, y: false, dist: 6 },
        points: { show: false },
        y: false,
        bind: { dblclick: () => () => show(0, duration) },
      },
      ...rest,
      hooks: {
        ...rest.hooks,
        setScale: [(u, key) => {
          if (key === "x" && !moving && u.status === 1) queueMicrotask(() => show(u.scales.x.min, u.scales.x.max));
        }],
      },
    };
  }
  const timeScale = { time: false, min: 0, max: duration, range: (u, min, max) => [min ?? 0, max ?? duration] };
  const STEPS = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5];
  const timeAxis = () => ({
    stroke: () => css("--soft"),
    grid: { stroke: () => css("--grid"), width: 1 },
    ticks: { show: false },
    incrs: STEPS,
    space: 70,
    size: 30,
    values: (u, splits, axis, space, step) => splits.map((ms) => clock(ms, step < 1000 ? 1 : 0)),
  });

  // --- bands: rectangles from one time to another

  function band(u, from, to, top, bottom, fill, label) {
    const x0 = Math.max(u.valToPos(from, "x", true), u.bbox.left);
    const x1 = Math.min(u.valToPos(to, "x", true), u.bbox.left + u.bbox.width);
    if (x1 <= x0) return;
    const context = u.ctx;
    context.fillStyle = fill;
    context.fillRect(x0, top, Math.max(x1 - x0, 1), bottom - top);
    const ratio = devicePixelRatio || 1;
    if (label && x1 - x0 > 10 * ratio) {
      context.font = `600 ${11 * ratio}px system-ui, sans-serif`;
      for (const text of [label, label.slice(0, 2)]) {
        const width = context.measureText(text).width;
        if (width + 10 * ratio > x1 - x0) continue;
        const [x, y] = [x0 + 4 * ratio, (top + bottom) / 2];
        context.fillStyle = "rgba(255,255,255,.82)";
        context.fillRect(x - 2 * ratio, y - 7 * ratio, width + 4 * ratio, 14 * ratio);
        context.fillStyle = "#111";
        context.textBaseline = "middle";
        context.textAlign = "left";
        context.fillText(text, x, y + ratio / 2);
        break;
      }
    }
  }

  function lostPattern() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    context.strokeStyle = css("--lost");
    context.lineWidth = 2;
    context.stroke(new Path2D("M0 8L8 0M-4 4L4 -4M4 12L12 4"));
    return context.createPattern(tile, "repeat");
  }

  // --- the whole video: seen or not, then a lane for each of those seen longest

  const LANES = 12;
  function overview(element) {
    const longest = [...data.people].sort((a, b) => b.rows - a.rows).slice(0, LANES);
    const lanes = data.people.filter((person) => longest.includes(person));
    const total = lanes.length + 1;
    const names = ["Seen", ...lanes.map((person) => `Track ${person.id}`)];
    const draw = (u) => {
      const context = u.ctx;
      context.save();
      const lane = (number) => {
        const [top, bottom] = [u.valToPos(total - number, "y", true), u.valToPos(total - number - 1, "y", true)];
        const margin = (bottom - top) * 0.16;
        return [top + margin, bottom - margin];
      };
      const [top, bottom] = lane(0);
      band(u, 0, duration, top, bottom, css("--accent"));
      for (const [from, to, reason] of data.gaps) {
        band(u, from, to, top, bottom, css("--card"));
        if (reason === "unreadable") band(u, from, to, top, bottom, lostPattern());
      }
      context.strokeStyle = css("--soft");
      context.lineWidth = 1;
      context.strokeRect(u.bbox.left, top, u.bbox.width, bottom - top);
      lanes.forEach((person, number) => {
        const [high, low] = lane(number + 1);
        for (const [from, to, label] of person.bands) band(u, from, to, high, low, hatches[label], emotions[label]);
      });
      context.strokeStyle = css("--ink");
      context.lineWidth = devicePixelRatio || 1;
      for (const shot of data.shots.slice(1)) {
        const x = Math.round(u.valToPos(shot, "x", true));
        if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
        context.beginPath();
        context.moveTo(x, u.bbox.top);
        context.lineTo(x, u.bbox.top + u.bbox.height);
        context.stroke();
      }
      context.restore();
    };
    return new uPlot(options(element, 44 + 26 * total, {
      scales: { x: timeScale, y: { range: [0, total] } },
      axes: [timeAxis(), {
        stroke: () => css("--soft"), size: 80, grid: { show: false }, ticks: { show: false },
        splits: () => names.map((_, number) => total - number - 0.5), values: () => names,
      }],
      series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
      hooks: { draw: [draw] },
    }), [[0, duration], [0, 0]], element);
  }

  // --- one person: a line for each emotion, and the label band under them

  function unpack(person) {
    const breaks = new Set(person.breaks);
    const time = [];
    const columns = [...person.smoothed, ...person.raw].map(() => []);
    let now = 0;
    person.time.forEach((step, row) => {
      if (breaks.has(row)) {
        time.push(now + 1); // an empty moment breaks the line
        columns.forEach((column) => column.push(null));
      }
      now += step;
      time.push(now);
      columns.forEach((column, number) => column.push((number < emotions.length ? person.smoothed[number] : person.raw[number - emotions.length])[row]));
    });
    return [time, ...columns];
  }

  function lines(element) {
    const person = data.people[Number(element.dataset.person)];
    const [time, ...columns] = unpack(person);
    const values = element.nextElementSibling;
    // Below each coloured line a dark one, so that yellow can be seen on white.
    const series = [{}];
    const drawn = [time];
    for (const number of emotions.keys()) {
      series.push({ stroke: () => css("--under"), width: WIDTHS[number % 7] + 1.2, dash: DASHES[number % 7], points: { show: false }, show: !hidden.has(number) });
      drawn.push(columns[number]);
      series.push({ stroke: colors[number], width: WIDTHS[number % 7], dash: DASHES[number % 7], points: { show: false }, show: !hidden.has(number) });
      drawn.push(columns[number]);
      series.push({ stroke: colors[number], width: 0, points: { show: true, size: 4, width: 1, fill: colors[number] }, paths: () => null, show: raw && !hidden.has(number) });
      drawn.push(columns[emotions.length + number]);
    }
    const draw = (u) => {
      u.ctx.save();
      const [top, bottom] = [u.valToPos(BAND_TOP * 1000, "y", true), u.valToPos(BAND_BOTTOM * 1000, "y", true)];
      for (const [from, to, label] of person.bands) band(u, from, to, top, bottom, hatches[label], emotions[label]);
      u.ctx.restore();
    };
    const read = (u) => {
      const row = u.cursor.idx;
      if (row == null || u.cursor.left < 0 || columns[data.known[0]][row] == null) return values.replaceChildren();
      const parts = [Object.assign(document.createElement("b"), { textContent: clock(time[row], 2) })];
      emotions.forEach((emotion, number) => {
        if (hidden.has(number)) return;
        const part = document.createElement("span");
        part.textContent = `${emotion} ${percent(columns[number][row])}` + (raw ? ` (raw ${percent(columns[emotions.length + number][row])})` : "");
        parts.push(part);
      });
      values.replaceChildren(...parts);
    };
    return new uPlot(options(element, 230, {
      scales: { x: timeScale, y: { range: [BAND_BOTTOM * 1000 - 20, 1000] } },
      axes: [timeAxis(), {
        stroke: () => css("--soft"), size: 56, grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false },
        splits: () => [0, 250, 500, 750, 1000], values: () => ["0 %", "25 %", "50 %", "75 %", "100 %"],
      }],
      series,
      hooks: { draw: [draw], setCursor: [read] },
    }), drawn, element);
  }

  // --- charts are made when they come into sight

  function make(element) {
    if (charts.has(element)) return;
    const chart = element.id === "overview" ? overview(element) : lines(element);
    charts.set(element, chart);
    moving = true;
    chart.setScale("x", view);
    moving = false;
  }
  const elements = [...document.querySelectorAll(".chart")];
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) make(entry.target);
  }, { rootMargin: "400px" });
  const size = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = charts.get(target);
      if (chart && chart.width !== target.clientWidth) chart.setSize({ width: target.clientWidth, height: chart.height });
    }
  });
  for (const element of elements) {
    sight.observe(element);
    size.observe(element);
    element.addEventListener("keydown", (event) => key(event, element));
  }

  // --- keyboard and buttons

  function key(event, element) {
    const actions = { "+": "in", "=": "in", "-": "out", "0": "all", Home: "all" };
    const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (actions[event.key]) move(actions[event.key]);
    else if (arrow && event.shiftKey) move(arrow < 0 ? "left" : "right");
    else if (arrow) step(charts.get(element), arrow);
    else return;
    event.preventDefault();
  }
  function step(chart, by) {
    const time = chart.data[0];
    let row = chart.cursor.left >= 0 && chart.cursor.idx != null ? chart.cursor.idx + by : time.findIndex((ms) => ms >= view.min);
    const seen = chart.data[1 + 3 * data.known[0]]; // a person's chart has three series an emotion
    while (seen && time[row] !== undefined && seen[row] == null) row += by;
    if (time[row] === undefined) return;
    if (time[row] < view.min) move("left");
    if (time[row] > view.max) move("right");
    queueMicrotask(() => chart.setCursor({ left: chart.valToPos(time[row], "x"), top: 10 }));
  }
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  for (const button of document.querySelectorAll("[data-time]")) {
    button.addEventListener("click", () => {
      const time = Number(button.dataset.time);
      const half = Math.min(duration, 10_000) / 2;
      show(time - half, time + half);
      const element = button.closest(".person").querySelector(".chart");
      make(element);
      const chart = charts.get(element);
      element.scrollIntoView({ block: "nearest" });
      queueMicrotask(() => chart.setCursor({ left: chart.valToPos(time, "x"), top: 10 }));
    });
  }
  function redraw() {
    for (const [element, chart] of charts) {
      if (element.id === "overview") { chart.redraw(false, true); continue; }
      chart.batch(() => {
        for (const number of emotions.keys()) {
          const show = !hidden.has(number);
          chart.setSeries(1 + 3 * number, { show });
          chart.setSeries(2 + 3 * number, { show });
          chart.setSeries(3 + 3 * number, { show: show && raw });
        }
      });
      chart.redraw(true, true);
    }
  }
  for (const button of document.querySelectorAll("[data-line]")) {
    const number = Number(button.dataset.line);
    const line = button.querySelector("line");
    line.setAttribute("stroke-width", WIDTHS[number % 7] + 0.8);
    line.setAttribute("stroke-dasharray", DASHES[number % 7].join(" "));
    button.addEventListener("click", () => {
      hidden.has(number) ? hidden.delete(number) : hidden.add(number);
      button.setAttribute("aria-pressed", !hidden.has(number));
      redraw();
    });
  }
  document.getElementById("raw")?.addEventListener("click", (event) => {
    raw = !raw;
    event.currentTarget.setAttribute("aria-pressed", raw);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  show(0, duration);

  // Paper is light, narrow, and shows everything.
  const PAPER = 700;
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    elements.forEach(make);
    for (const chart of charts.values()) chart.setSize({ width: PAPER, height: chart.height });
    redraw();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    for (const [element, chart] of charts) chart.setSize({ width: element.clientWidth, height: chart.height });
    redraw();
  });
}

const table = document.getElementById("videos");
if (table) index(table);
const data = document.getElementById("data");
if (data) page(JSON.parse(data.textContent));
