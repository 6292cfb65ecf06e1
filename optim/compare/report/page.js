"use strict";
// The charts are drawn by plotly. This script joins them: one choice of methods, problems and axes.
const data = JSON.parse(document.getElementById("data").textContent);
const state = { hidden: new Set(), axis: "", x: "", y: "", problem: "" };
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const ink = (color) => (color === "#000000" && dark() ? "#ffffff" : color);
const names = { iteration: "iteration", seconds: "seconds of steps", evaluations: "evaluations" };

function traces(chart, panel) {
  const found = [];
  const axis = panel.axis === "place" ? "place" : state.axis || panel.axis;
  for (const [method, line] of Object.entries(panel.lines)) {
    const look = data.looks[method], x = line[axis], color = ink(look.color);
    const visible = !state.hidden.has(method);
    const common = { x, visible, legendgroup: method, hoverlabel: { namelength: -1 } };
    if (line.min.some((low, i) => low < line.max[i])) {
      found.push({ ...common, y: line.min, mode: "lines", line: { width: 0 }, hoverinfo: "skip" });
      found.push({ ...common, y: line.max, mode: "lines", line: { width: 0 }, fill: "tonexty",
        fillcolor: color + "26", hoverinfo: "skip" });
    }
    found.push({ ...common, y: line.median, mode: "lines+markers", name: method,
      marker: { size: 4 }, line: { color, dash: look.dash, width: 1.6 },
      hovertemplate: `<b>${method}</b><br>${chart.runs[method]}<br>%{x:.4g}: %{y:.4g}<extra></extra>` });
  }
  return found;
}

function layout(panel) {
  const axis = panel.axis === "place" ? panel.x : names[state.axis || panel.axis];
  const grid = { gridcolor: css("--line"), zeroline: false, exponentformat: "power", automargin: true };
  const log = (choice, own) => (choice ? choice === "log" : own) ? "log" : "linear";
  const line = (level) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: level[0], y1: level[0],
    line: { width: 1, dash: "dot", color: css("--soft") } });
  return {
    showlegend: false, margin: { l: 62, r: 12, t: 8, b: 44 }, hovermode: "closest",
    paper_bgcolor: css("--paper"), plot_bgcolor: css("--paper"), font: { color: css("--ink"), size: 12 },
    xaxis: { ...grid, title: { text: axis }, type: log(state.x, panel.log_x) },
    yaxis: { ...grid, title: { text: panel.y }, type: log(state.y, panel.log) },
    shapes: panel.levels.map(line),
  };
}

const drawn = new Map();
function draw(element) {
  const [chart, panel] = drawn.get(element);
  Plotly.react(element, traces(chart, panel), layout(panel), { responsive: true, displaylogo: false });
}

function refresh() {
  for (const element of drawn.keys()) if (element.dataset.seen) draw(element);
  for (const section of document.querySelectorAll("[data-problem]"))
    section.hidden = Boolean(state.problem) && section.dataset.problem !== state.problem;
  for (const row of document.querySelectorAll("tr[data-method]"))
    row.hidden = state.hidden.has(row.dataset.method);
}

// A chart is drawn when it first becomes visible, so a page with hundreds of charts opens quickly.
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting && !entry.target.dataset.seen) {
    entry.target.dataset.seen = "1";
    draw(entry.target);
  }
}, { rootMargin: "400px" });

data.charts.forEach((chart, number) => {
  const place = document.getElementById(`charts-${number}`);
  chart.panels.forEach((panel) => {
    const element = document.createElement("div");
    element.className = "chart";
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", `${chart.title}: ${panel.y}`);
    place.append(element);
    drawn.set(element, [chart, panel]);
    observer.observe(element);
  });
});

for (const button of document.querySelectorAll("button[data-toggle]")) {
  button.addEventListener("click", () => {
    const method = button.dataset.toggle;
    state.hidden.has(method) ? state.hidden.delete(method) : state.hidden.add(method);
    button.setAttribute("aria-pressed", String(!state.hidden.has(method)));
    refresh();
  });
}
for (const button of document.querySelectorAll("button[data-all]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("button[data-toggle]")) {
      const shown = button.dataset.all === "show";
      other.setAttribute("aria-pressed", String(shown));
      shown ? state.hidden.delete(other.dataset.toggle) : state.hidden.add(other.dataset.toggle);
    }
    refresh();
  });
}
for (const select of document.querySelectorAll("select[data-state]"))
  select.addEventListener("change", () => { state[select.dataset.state] = select.value; refresh(); });
for (const button of document.querySelectorAll("button[data-filter]"))
  button.addEventListener("click", () => {
    state.problem = state.problem === button.dataset.filter ? "" : button.dataset.filter;
    document.querySelector("select[data-state=problem]").value = state.problem;
    refresh();
  });

for (const header of document.querySelectorAll("th button")) {
  header.addEventListener("click", () => {
    const cell = header.parentElement, body = cell.closest("table").tBodies[0];
    const up = cell.getAttribute("aria-sort") !== "ascending";
    for (const other of cell.parentElement.children) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const text = row.cells[cell.cellIndex].textContent.trim();
      const number = parseFloat(text.replace("< ", ""));
      return text === "diverged" ? Infinity : Number.isNaN(number) ? text : number;
    };
    const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach((row) => body.append(row));
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
