"""FastAPI with asyncpg's pool, on the same procedures; uvicorn with uvloop and httptools.

The procedure's text is the response. No ODBC, so it does not support SQL Server.
"""

import contextlib
import json
import os

import asyncpg
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from bench.contestants.fastapi_models import CustomerPatch, NewCustomer

FETCH = 1000


@contextlib.asynccontextmanager
async def lifespan(app):
    size = int(os.environ["BENCH_CONNECTIONS"])
    dsn = os.environ["BENCH_ASYNCPG"]
    async with asyncpg.create_pool(dsn, min_size=size, max_size=size) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


async def call(request, procedure, document, status=200):
    statement = f"SELECT * FROM {procedure}($1)"
    text = await request.app.state.pool.fetchval(statement, json.dumps(document))
    if text is None:
        raise HTTPException(404)
    return Response(text, status, media_type="application/json")


@app.get("/customer/{customer_id}")
async def get_customer(request: Request, customer_id: int):
    return await call(request, "web.get_customer", {"CustomerID": customer_id})


@app.put("/customer")
async def put_customer(request: Request, customer: NewCustomer):
    return await call(request, "web.put_customer", customer.model_dump(exclude_none=True), 201)


@app.patch("/customer/{customer_id}")
async def patch_customer(request: Request, customer_id: int, customer: CustomerPatch):
    document = customer.model_dump(exclude_unset=True)
    return await call(request, "web.patch_customer", {**document, "CustomerID": customer_id})


@app.get("/customers")
async def get_customers(request: Request):
    return await call(request, "web.get_customers", {})


@app.get("/taxidata/{amount}")
async def get_trips(request: Request, amount: float):
    return await call(request, 'dbo."get_taxidataAmount"', {"total_amount": amount})


@app.get("/taxidata")
async def stream_trips(request: Request, limit: int = 0, format: str = "ndjson"):
    async def lines():
        document = json.dumps({"limit": limit, "rows": True})
        async with request.app.state.pool.acquire() as lent, lent.transaction():
            name = await lent.fetchval("SELECT dbo.get_taxidata_rows($1)", document)
            while rows := await lent.fetch(f'FETCH {FETCH} FROM "{name}"'):
                yield "".join(row[0] + "\n" for row in rows)

    return StreamingResponse(lines(), media_type="application/x-ndjson")
