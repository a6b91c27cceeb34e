"""The way of Microsoft's sample azure-sql-db-python-rest-api, on PostgreSQL.

One connection in a module-level manager, JSON parsed and written again on its way out,
flask-restful with reqparse and the form field `customer`; gunicorn with sync workers. The
sample's `EXEC web.x ?` is psqlodbc's `SELECT * FROM web.x(?)` here; the rest is as it was.
"""

import json
import os

import pyodbc
from flask import Flask
from flask_restful import Api, Resource, reqparse

app = Flask(__name__)
api = Api(app)
parser = reqparse.RequestParser()
# Since Flask 2.1 reqparse returns 415 for a form unless `location` is set.
parser.add_argument("customer", location="form")


class ConnectionManager:
    __instance = None
    __connection = None

    def __new__(cls):
        if ConnectionManager.__instance is None:
            ConnectionManager.__instance = object.__new__(cls)
        return ConnectionManager.__instance

    def get_connection(self):
        if self.__connection is None:
            self.__connection = pyodbc.connect(os.environ["BENCH_ODBC"])
        return self.__connection


class Queryable(Resource):
    def execute_json(self, procedure, payload=None):
        result = {}
        connection = ConnectionManager().get_connection()
        cursor = connection.cursor()
        try:
            cursor.execute(f"SELECT * FROM {procedure}(?)", json.dumps(payload or {}))
            result = cursor.fetchone()
            result = json.loads(result[0]) if result else {}
            cursor.commit()
        finally:
            cursor.close()
        return result


class Customer(Queryable):
    def get(self, customer_id):
        return self.execute_json("web.get_customer", {"CustomerID": customer_id}), 200

    def put(self):
        customer = json.loads(parser.parse_args()["customer"])
        return self.execute_json("web.put_customer", customer), 201

    def patch(self, customer_id):
        customer = json.loads(parser.parse_args()["customer"])
        customer["CustomerID"] = customer_id
        return self.execute_json("web.patch_customer", customer), 202


class Customers(Queryable):
    def get(self):
        return self.execute_json("web.get_customers"), 200


class TaxiAmount(Queryable):
    def get(self, amount):
        payload = {"total_amount": float(amount)}
        return self.execute_json('dbo."get_taxidataAmount"', payload), 200


api.add_resource(Customer, "/customer", "/customer/<int:customer_id>")
api.add_resource(Customers, "/customers")
api.add_resource(TaxiAmount, "/taxidata/<amount>")
