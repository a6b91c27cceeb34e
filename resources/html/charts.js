// Charts with Chartist. Each has a text alternative: a label, and its numbers as a table.
import { element } from "./session.js";

const number = new Intl.NumberFormat("en");
export const shown = (value) => (value === null ? "–" : number.format(value));

// Draws into a figure with a caption. columns: [header, values] of the table, of which the first is
// the axis and `drawn` are the indexes of the series. kind: "bars" or "lines". whole: no fractions on
// the axis of values.
export function draw(figure, { kind, label, columns, drawn = [1], everyLabel = 1, whole = true }) {
  const [axis] = columns;
  const data = { labels: axis[1], series: drawn.map((index) => columns[index][1]) };
  let place = figure.querySelector(".chart");
  if (!place) {
    place = element("div", { class: `chart ${kind}` });
    figure.append(place, element("details", {}, element("summary", {}, "As a table"),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, as a table` })));
  }
  figure.querySelector(".scroll").replaceChildren(table(label, columns));
  // The last label of a line would stand beyond its end.
  const most = axis[1].length - (kind === "lines" ? 1 : 0);
  const nameOf = (text, index) => (index % everyLabel || (index && index >= most) ? null : text);
  const options = {
    fullWidth: true,
    showPoint: axis[1].length < 3,
    showArea: true,
    lineSmooth: false,
    low: 0,
    chartPadding: { top: 12, right: 12, bottom: 0, left: 4 },
    axisX: { showGrid: false, labelInterpolationFnc: nameOf },
    axisY: { offset: 44, scaleMinSpace: 28, onlyInteger: whole, labelInterpolationFnc: (value) => shown(value) },
  };
  const chart = new Chartist[kind === "bars" ? "BarChart" : "LineChart"](place, data, options);
  chart.on("draw", (context) => {
    if (context.type !== "bar") return;
    // A bar's width depends on the number of bars.
    context.element.attr({ "stroke-width": (0.6 * context.axisX.stepLength).toFixed(1) });
    context.element.elem("title").text(`${axis[1][context.index]}: ${shown(context.value.y)}`);
  });
  chart.on("created", () => {
    const svg = place.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", summary(label, axis[1], columns[drawn[0]]));
    if (!performance.getEntriesByName("first-chart").length) performance.mark("first-chart");
  });
}

function summary(label, names, [header, values]) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return `${label}: no values yet.`;
  const most = Math.max(...known);
  const least = Math.min(...known);
  return `${label}: ${header} between ${shown(least)} (${names[values.indexOf(least)]}) and `
    + `${shown(most)} (${names[values.indexOf(most)]}).`;
}

function table(label, columns) {
  const head = columns.map(([header], place) =>
    element("th", { scope: "col", class: place ? "number" : null }, header));
  const rows = columns[0][1].map((name, row) => element("tr", {},
    element("th", { scope: "row" }, name),
    ...columns.slice(1).map(([, values]) => element("td", { class: "number" }, shown(values[row])))));
  return element("table", {}, element("caption", {}, label),
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}
