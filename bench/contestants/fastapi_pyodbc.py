"""FastAPI with pyodbc in its thread pool, on the same ODBC driver and procedures.

`def` endpoints, which FastAPI runs in threads; connections wait in a queue, as its users do it
where the driver has no pool. The procedure's text is the response. uvicorn with uvloop, httptools.
"""

import contextlib
import json
import os
import queue

import pyodbc
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse

from bench.contestants.fastapi_models import CustomerPatch, NewCustomer

FETCH = 200
pyodbc.pooling = False
connections: queue.LifoQueue = queue.LifoQueue()


@contextlib.asynccontextmanager
async def lifespan(app):
    for _ in range(int(os.environ["BENCH_CONNECTIONS"])):
        connections.put(pyodbc.connect(os.environ["BENCH_ODBC"], autocommit=True))
    yield
    while not connections.empty():
        connections.get().close()


app = FastAPI(lifespan=lifespan)


@contextlib.contextmanager
def connection():
    taken = connections.get(timeout=10)
    try:
        yield taken
    finally:
        connections.put(taken)


def call(procedure, document, status=200):
    with connection() as lent, contextlib.closing(lent.cursor()) as cursor:
        row = cursor.execute(f"SELECT * FROM {procedure}(?)", json.dumps(document)).fetchone()
    if row is None or row[0] is None:
        raise HTTPException(404)
    return Response(row[0], status, media_type="application/json")


@app.get("/customer/{customer_id}")
def get_customer(customer_id: int):
    return call("web.get_customer", {"CustomerID": customer_id})


@app.put("/customer")
def put_customer(customer: NewCustomer):
    return call("web.put_customer", customer.model_dump(exclude_none=True), 201)


@app.patch("/customer/{customer_id}")
def patch_customer(customer_id: int, customer: CustomerPatch):
    document = customer.model_dump(exclude_unset=True)
    return call("web.patch_customer", {**document, "CustomerID": customer_id})


@app.get("/customers")
def get_customers():
    return call("web.get_customers", {})


@app.get("/taxidata/{amount}")
def get_trips(amount: float):
    return call('dbo."get_taxidataAmount"', {"total_amount": amount})


@app.get("/taxidata")
def stream_trips(limit: int = 0, format: str = "ndjson"):
    def lines():
        with connection() as lent, contextlib.closing(lent.cursor()) as cursor:
            lent.autocommit = False
            try:
                document = json.dumps({"limit": limit, "rows": True})
                name = cursor.execute("SELECT dbo.get_taxidata_rows(?)", document).fetchval()
                while rows := cursor.execute(f'FETCH {FETCH} FROM "{name}"').fetchall():
                    yield "".join(row[0] + "\n" for row in rows)
            finally:
                lent.rollback()
                lent.autocommit = True

    return StreamingResponse(lines(), media_type="application/x-ndjson")
