-- The sample's routes for an API that knows these procedures from the catalog only, which is one
-- with the schemas web and dbo in EXPOSED_SCHEMAS and no resource class of these routes.
COMMENT ON FUNCTION web.get_customer(text) IS 'One customer.
@route GET /customer/{CustomerID:int}';
COMMENT ON FUNCTION web.get_customers(text) IS 'The customers, a page of them or all.';
COMMENT ON FUNCTION web.put_customer(text) IS 'Make a customer.';
COMMENT ON FUNCTION web.put_customers(text) IS 'Make many customers, all or none.
@route POST /customers';
COMMENT ON FUNCTION web.replace_customer(text) IS 'Replace a customer: an absent member clears its column.
@route PUT /customer/{CustomerID:int}';
COMMENT ON FUNCTION web.patch_customer(text) IS 'Change a customer: null clears, absent leaves.
@route PATCH /customer/{CustomerID:int}';
COMMENT ON FUNCTION web.delete_customer(text) IS 'Remove a customer.
@route DELETE /customer/{CustomerID:int}';
COMMENT ON FUNCTION web.delete_expired_requests(text) IS 'Deletes expired idempotency keys.
@private';
COMMENT ON PROCEDURE web.require_request(text, timestamptz) IS 'Refuses a read on a replica that lacks a write.
@private';
COMMENT ON FUNCTION dbo.get_taxidata(text) IS 'Trips, filtered; the interval of pick-ups is half open.
@route GET /taxidata
@route GET /taxidataall';
COMMENT ON FUNCTION dbo."get_taxidataAmount"(text) IS 'Trips of one total_amount.
@route GET /taxidata/{total_amount}
@route GET /taxidataprice/{total_amount}
@route GET /taxidateprice/{total_amount}';
COMMENT ON FUNCTION dbo."get_taxidataSummary"(text) IS 'Trips, fares and tips by hour, weekday or payment type.
@route GET /taxidata/summary';
