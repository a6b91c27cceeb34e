// Tables that fit a phone: there each row becomes a block, and each cell names its column (base.css).
// Their roles are written out, because a browser forgets them where rows are laid out as blocks.
import { element } from "./session.js";

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

// Fills a <table>. columns: [header, value of a row, class of the cell], of which the first names the
// row.
export function fill(table, rows, columns) {
  const head = columns.map(([header, , kind]) =>
    element("th", { role: "columnheader", scope: "col", class: kind }, header));
  const body = rows.map((row) => element("tr", { role: "row" }, ...columns.map(([header, value, kind], place) =>
    place
      ? element("td", { role: "cell", class: kind, "data-header": header }, value(row))
      : element("th", { role: "rowheader", scope: "row", class: kind }, value(row)))));
  table.setAttribute("role", "table");
  table.classList.add("stacks");
  table.replaceChildren(
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    element("tbody", { role: "rowgroup" }, ...body));
}

const reason = ({ status, complete, failure }) =>
  [status, ...(failure ? [failure.replaceAll("_", " ")] : []), ...(complete ? [] : ["cut off"])].join(", ");

export function fillProblems(table, problems) {
  fill(table, problems, [
    ["Request id", (one) => element("code", {}, one.request_id), null],
    ["Time", (one) => element("time", { datetime: one.time }, clock.format(new Date(one.time))), null],
    ["Status", (one) => element("span", { class: one.status >= 500 ? "bad" : null }, reason(one)), null],
    ["Route", (one) => element("code", {}, `${one.method} ${one.route}`), "whole"],
  ]);
}
