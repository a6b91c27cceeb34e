// The last 15 minutes, refreshed while the page is visible.
import { draw, shown } from "./charts.js";
import { element, json, open } from "./session.js";
import { fill, fillProblems } from "./tables.js";

const REFRESH_MS = 5000;
const figures = document.getElementById("figures");
const age = document.getElementById("age");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 2 });
const ms = (value) => (value === null ? "–" : `${shown(value < 10 ? Math.round(10 * value) / 10 : Math.round(value))} ms`);

function put(name, text) {
  figures.querySelector(`[data-figure=${name}]`).textContent = text;
}

function showNumbers(found) {
  const sum = (name) => found.databases.reduce((total, one) => total + one[name], 0);
  put("requests", shown(found.requests));
  put("rate", `${shown(found.requests_per_second)} per second`);
  put("p50", ms(found.p50_ms));
  put("p95", `95 %: ${ms(found.p95_ms)}, 99 %: ${ms(found.p99_ms)}`);
  put("errors", percent.format(found.error_rate));
  put("refused", `${shown(found.server_errors)} of status 5xx, ${shown(found.client_errors)} of 4xx`);
  put("in_use", `${shown(sum("in_use"))} of ${shown(sum("max_size"))}`);
  put("waiting", `${shown(sum("waiting"))} waiting, ${shown(sum("idle"))} idle`);
}

function showCharts({ series }) {
  const time = ["", series.map((point) => clock.format(new Date(point.at)))];
  const column = (header, key) => [header, series.map((point) => point[key])];
  const chart = (name, label, columns, { drawn = [1], whole = true } = {}) => draw(figures.querySelector(`[data-chart=${name}]`), {
    kind: "lines", label, columns: [time, ...columns], drawn, whole, everyLabel: Math.ceil(series.length / 5),
  });
  chart("rate", "Requests per second", [column("requests per second", "requests_per_second")], { whole: false });
  chart("latency", "Latency", [column("median (ms)", "p50_ms"), column("95 % (ms)", "p95_ms")], { drawn: [1, 2], whole: false });
  chart("errors", "Server errors", [column("server errors", "server_errors")]);
  chart("pool", "Connections", [column("in use", "in_use"), column("waiting", "waiting")], { drawn: [1, 2] });
}

const table = (id) => document.getElementById(id);
const count = (header, key) => [header, (row) => shown(row[key]), "number"];
const time = (header, key) => [header, (row) => ms(row[key]), "number"];

function show(found) {
  showNumbers(found);
  showCharts(found);
  fill(table("pools"), found.databases, [
    ["Database", (row) => row.name, null], count("In use", "in_use"), count("Idle", "idle"),
    count("Connecting", "connecting"), count("Maximum", "max_size"), count("Waiting", "waiting"),
    count("Timeouts", "timeouts"), count("Rejected", "rejected"), count("Connects", "connects"),
    count("Failed connects", "connect_failures"), count("Retries", "retries"), count("Failed calls", "call_failures"),
  ]);
  fill(table("routes"), found.routes, [
    ["Route", (row) => element("code", {}, `${row.method} ${row.route}`), null], count("Requests", "requests"),
    count("5xx", "server_errors"), count("4xx", "client_errors"), time("Median", "p50_ms"),
    time("95 %", "p95_ms"), time("99 %", "p99_ms"),
  ]);
  figures.querySelector(".none").hidden = found.problems.length > 0;
  table("problems").hidden = found.problems.length === 0;
  fillProblems(table("problems"), found.problems);
}

let groups = [];

async function refresh() {
  if (!groups.includes("operate")) return;
  // A table that is being read must not be replaced.
  if (figures.querySelector("details[open]") || figures.contains(document.activeElement)) return;
  try {
    show(await json(figures.dataset.source));
    age.textContent = "";
  } catch (error) {
    age.textContent = `No new figures: ${error.message}`;
  }
}

open((opened) => {
  groups = opened;
  refresh();
});
setInterval(() => document.hidden || refresh(), REFRESH_MS);
