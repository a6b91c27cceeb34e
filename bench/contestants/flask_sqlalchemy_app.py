"""Flask-SQLAlchemy, as in its documentation: models, `db.session`, `jsonify`; psycopg.

Deliberately without stored procedures. gunicorn with gthread workers.
"""

import datetime
import json
import os

from flask import Flask, abort, jsonify, request, stream_with_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BENCH_SQLALCHEMY"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": int(os.environ["BENCH_CONNECTIONS"])}
app.json.sort_keys = False
db.init_app(app)


class Customer(db.Model):
    __tablename__ = "customers"
    __table_args__ = {"schema": "sales"}

    CustomerID: Mapped[int] = mapped_column(primary_key=True)
    CustomerName: Mapped[str] = mapped_column(String(100), unique=True)
    PhoneNumber: Mapped[str | None] = mapped_column(String(20))
    FaxNumber: Mapped[str | None] = mapped_column(String(20))
    WebsiteURL: Mapped[str | None] = mapped_column(String(256))
    DeliveryAddressLine1: Mapped[str | None] = mapped_column(String(60))
    DeliveryAddressLine2: Mapped[str | None] = mapped_column(String(60))
    DeliveryPostalCode: Mapped[str | None] = mapped_column(String(10))

    def to_dict(self):
        delivery = {
            "AddressLine1": self.DeliveryAddressLine1,
            "AddressLine2": self.DeliveryAddressLine2,
            "PostalCode": self.DeliveryPostalCode,
        }
        customer = {
            "CustomerID": self.CustomerID,
            "CustomerName": self.CustomerName,
            "PhoneNumber": self.PhoneNumber,
            "FaxNumber": self.FaxNumber,
            "WebsiteURL": self.WebsiteURL,
            "Delivery": {k: v for k, v in delivery.items() if v is not None} or None,
        }
        return {k: v for k, v in customer.items() if v is not None}


class Trip(db.Model):
    __tablename__ = "taxidata"
    __table_args__ = {"schema": "dbo"}

    id: Mapped[int] = mapped_column(primary_key=True)
    VendorID: Mapped[int | None]
    tpep_pickup_datetime: Mapped[datetime.datetime | None]
    tpep_dropoff_datetime: Mapped[datetime.datetime | None]
    passenger_count: Mapped[int | None]
    trip_distance: Mapped[float | None]
    RatecodeID: Mapped[int | None]
    store_and_fwd_flag: Mapped[bool | None]
    PULocationID: Mapped[int | None]
    DOLocationID: Mapped[int | None]
    payment_type: Mapped[int | None]
    fare_amount: Mapped[float | None]
    extra: Mapped[float | None]
    mta_tax: Mapped[float | None]
    tip_amount: Mapped[float | None]
    tolls_amount: Mapped[float | None]
    improvement_surcharge: Mapped[float | None]
    total_amount: Mapped[float | None]
    congestion_surcharge: Mapped[float | None]

    def to_dict(self):
        trip = {c.name: getattr(self, c.name) for c in self.__table__.columns if c.name != "id"}
        for name in ("tpep_pickup_datetime", "tpep_dropoff_datetime"):
            if trip[name] is not None:
                trip[name] = trip[name].isoformat()
        return trip


IN_ORDER = (
    Trip.tpep_pickup_datetime,
    Trip.tpep_dropoff_datetime,
    Trip.VendorID,
    Trip.PULocationID,
    Trip.DOLocationID,
    Trip.total_amount,
    Trip.trip_distance,
    Trip.fare_amount,
    Trip.tip_amount,
    Trip.payment_type,
    Trip.id,
)


def flat(body):
    """The columns that a body names."""
    columns = {k: v for k, v in body.items() if k != "Delivery"}
    return columns | {f"Delivery{k}": v for k, v in (body.get("Delivery") or {}).items()}


@app.get("/customer/<int:customer_id>")
def get_customer(customer_id):
    return jsonify([db.get_or_404(Customer, customer_id).to_dict()])


@app.put("/customer")
def put_customer():
    customer = Customer(**flat(request.get_json()))
    db.session.add(customer)
    db.session.commit()
    return jsonify([customer.to_dict()]), 201


@app.patch("/customer/<int:customer_id>")
def patch_customer(customer_id):
    customer = db.get_or_404(Customer, customer_id)
    for name, value in flat(request.get_json()).items():
        setattr(customer, name, value)
    db.session.commit()
    return jsonify([customer.to_dict()])


@app.get("/customers")
def get_customers():
    statement = select(Customer.CustomerID, Customer.CustomerName).order_by(Customer.CustomerID)
    return jsonify([dict(row) for row in db.session.execute(statement).mappings()])


@app.get("/taxidata/<amount>")
def get_trips(amount):
    statement = select(Trip).where(Trip.total_amount == float(amount)).order_by(*IN_ORDER)
    return jsonify([t.to_dict() for t in db.session.execute(statement.limit(1000)).scalars()])


@app.get("/taxidata")
def stream_trips():
    if request.args.get("format") != "ndjson":
        abort(406)
    limit = int(request.args.get("limit", 0)) or None

    @stream_with_context
    def lines():
        statement = select(Trip).order_by(*IN_ORDER).limit(limit)
        trips = db.session.execute(statement, execution_options={"yield_per": 1000}).scalars()
        for part in trips.partitions():
            yield "".join(json.dumps(t.to_dict(), separators=(",", ":")) + "\n" for t in part)

    return app.response_class(lines(), mimetype="application/x-ndjson")
