// The landing page. The server sends it without states and data, so that probes of the page alone
// never wake a database.
import { showCustomers } from "./customers.js";
import { allow, showOperations } from "./operations.js";
import { json, open, request } from "./session.js";
import { fillProblems } from "./tables.js";

const REFRESH_MS = 5000;
const MOST_PROBLEMS = 5;
const health = document.getElementById("health");
const trips = document.getElementById("trips");
const customers = document.getElementById("customers");
const problems = document.getElementById("problems");
const operations = document.getElementById("operations");
let groups = [];

async function showHealth() {
  const rows = [...health.querySelectorAll("[data-database]")];
  try {
    const { databases } = await (await request(health.dataset.source)).json();
    for (const row of rows) {
      const database = databases[row.dataset.database];
      row.classList.remove("stale");
      row.dataset.state = database.state;
      row.querySelector(".state").textContent = database.state;
      row.querySelector(".source").textContent = database.source;
      row.querySelector(".latency").textContent =
        database.latency_ms === null ? "" : `${database.latency_ms} ms`;
    }
  } catch {
    for (const row of rows) {
      row.classList.add("stale");
      row.querySelector(".state").textContent = "no response";
    }
  }
}

async function showProblems() {
  if (!groups.includes("operate")) return;
  const found = (await json(problems.dataset.source)).problems.slice(0, MOST_PROBLEMS);
  problems.querySelector(".none").hidden = found.length > 0;
  problems.querySelector("table").hidden = found.length === 0;
  fillProblems(problems.querySelector("table"), found);
}

async function showTrips() {
  const { showSummaries } = await import("./trips.js");
  await showSummaries(trips);
}

function prepareTrips() {
  if (trips.dataset.load === "now") return showTrips();
  const ask = trips.querySelector(".ask");
  const figures = trips.querySelector(".grid");
  [ask.hidden, figures.hidden] = [false, true];
  ask.querySelector("button").addEventListener("click", () => {
    [ask.hidden, figures.hidden] = [true, false];
    showTrips();
  }, { once: true });
}

const begun = new Set();
function once(part, begin) {
  if (part && !part.hidden && !begun.has(part)) {
    begun.add(part);
    begin(part);
  }
}

function refresh() {
  showHealth();
  showProblems().catch(() => {});
}

open((opened) => {
  groups = opened;
  allow(operations, groups);
  once(trips, prepareTrips);
  once(customers, showCustomers);
  refresh();
});
showOperations(operations).then(() => allow(operations, groups));
setInterval(() => document.hidden || refresh(), REFRESH_MS);
