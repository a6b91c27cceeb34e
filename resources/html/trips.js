// Trips by hour, weekday and payment type.
import { draw } from "./charts.js";
import { element, json } from "./session.js";

const DAYS = ["", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
// TLC's data dictionary of yellow-taxi trips.
const PAYMENTS = ["Flex", "Card", "Cash", "Free", "Dispute", "Unknown", "Voided"];
const GROUPS = {
  hour: { label: "Trips by hour of the day", name: (value) => String(value), everyLabel: 3 },
  weekday: { label: "Trips by weekday", name: (value) => DAYS[value], everyLabel: 1 },
  payment_type: { label: "Trips by payment type", name: (value) => PAYMENTS[value] ?? "None", everyLabel: 1 },
};

export async function showSummaries(section) {
  const source = new URL(section.dataset.source, location);
  await Promise.all(Object.keys(GROUPS).map(async (by) => {
    const figure = section.querySelector(`[data-by=${by}]`);
    source.search = new URLSearchParams({ by });
    try {
      const rows = await json(source.pathname + source.search);
      const { label, name, everyLabel } = GROUPS[by];
      const column = (key) => rows.map((row) => row[key]);
      draw(figure, {
        kind: "bars",
        label,
        everyLabel,
        columns: [
          ["", column(by).map(name)], ["trips", column("trips")],
          ["fares ($)", column("fare_amount")], ["tips ($)", column("tip_amount")],
        ],
      });
    } catch (error) {
      figure.append(element("p", { class: "dim", role: "status" }, error.message));
    }
  }));
}
