// Five operations, called with the types that openapi-typescript has made of the document. The
// compiler checks each name and each parameter; what the server returned is printed as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

// Lists are offered as NDJSON, CSV and Arrow too; this client reads JSON.
type Json = "application/json" | "application/problem+json";
const client = createClient<paths, Json>({ baseUrl: process.argv[2] });
type Order = components["schemas"]["GetOrderRow"];

const list = await client.GET("/orders", { params: { query: { customer: "Customer 7" } } });
const amounts: number[] | undefined = list.data?.map((order) => order.amount ?? 0);

const read = await client.GET("/order/{order_id}", { params: { path: { order_id: 7 } } });
const order: Order | undefined = read.data?.[0];
const missing = await client.GET("/order/{order_id}", { params: { path: { order_id: 4000000 } } });
const problem: number | undefined = missing.error?.status;

const create = () =>
  client.POST("/order", {
    params: { header: { "Idempotency-Key": "typescript-client" } },
    body: { customer: "Corner Shop TS", amount: 12.25 },
  });
const created = [await create(), await create()];

const update = await client.PATCH("/order/{order_id}", {
  params: { path: { order_id: 11 } },
  body: { note: "from TypeScript" },
});

const approve = (order_id: number) =>
  client.POST("/order/{order_id}/approve", { params: { path: { order_id } } });
const approved = await approve(12);
const refused = await approve(15);

// @ts-expect-error A client learns of an unknown column from the compiler.
void order?.unknown_column;

console.log(
  JSON.stringify({
    amounts,
    customer: order?.customer,
    problem,
    created: created.map((one) => one.data?.[0]?.order_id),
    replayed: created.map((one) => one.response.headers.get("Idempotency-Replayed")),
    note: update.data?.[0]?.note,
    approved: approved.data?.[0]?.approved,
    refused: refused.error?.detail,
  }),
);
