// Operations called with the client that openapi-generator (typescript-fetch) has made of the
// document. The compiler checks each name and each parameter.
import { Configuration, OrderApi, ResponseError } from "./api";

async function main(): Promise<void> {
  const orders = new OrderApi(new Configuration({ basePath: process.argv[2] }));
  const list = await orders.listOrders({ customer: "Customer 17", approved: false });
  const order = (await orders.getOrder({ orderId: 17 }))[0];
  const problem = await orders
    .getOrder({ orderId: 4000000 })
    .catch((error: unknown) => (error instanceof ResponseError ? error.response.status : error));
  const create = () =>
    orders.createOrderRaw({
      idempotencyKey: "typescript-fetch",
      createOrderBody: { customer: "Corner Shop Fetch", amount: 12.25 },
    });
  const created = [await create(), await create()];
  const update = await orders.updateOrder({
    orderId: 18,
    updateOrderBody: { note: "from fetch" },
  });
  // @ts-expect-error A client learns of an unknown column from the compiler.
  void order?.unknownColumn;
  console.log(
    JSON.stringify({
      amounts: list.map((one) => one.amount),
      customer: order?.customer,
      day: order?.orderedOn?.toISOString().slice(0, 10),
      problem,
      created: await Promise.all(created.map(async (one) => (await one.value())[0]?.orderId)),
      replayed: created.map((one) => one.raw.headers.get("Idempotency-Replayed")),
      note: update[0]?.note,
    }),
  );
}

void main();
