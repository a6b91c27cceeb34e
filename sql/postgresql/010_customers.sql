-- The part of WideWorldImporters that the API serves. A missing value is NULL here; in columns that
-- forbid NULL, WideWorldImporters itself stores an empty string.
CREATE SEQUENCE IF NOT EXISTS sequences.customerid AS integer START WITH 1062;

CREATE TABLE IF NOT EXISTS sales.customers (
    "CustomerID"           integer      NOT NULL DEFAULT nextval('sequences.customerid'),
    "CustomerName"         varchar(100) NOT NULL,
    "PhoneNumber"          varchar(20),
    "FaxNumber"            varchar(20),
    "WebsiteURL"           varchar(256),
    "DeliveryAddressLine1" varchar(60),
    "DeliveryAddressLine2" varchar(60),
    "DeliveryPostalCode"   varchar(10),
    "LastEditedBy"         text         NOT NULL DEFAULT session_user,
    "ValidFrom"            timestamptz  NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "PK_Sales_Customers" PRIMARY KEY ("CustomerID"),
    CONSTRAINT "UQ_Sales_Customers_CustomerName" UNIQUE ("CustomerName")
);

CREATE TABLE IF NOT EXISTS sales.customers_archive (
    LIKE sales.customers,
    "ValidTo" timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS "IX_Sales_Customers_Archive"
    ON sales.customers_archive ("CustomerID", "ValidFrom");

-- The former versions of each row, with the end of their validity.
CREATE OR REPLACE FUNCTION sales.keep_history() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sales.customers_archive SELECT OLD.*, clock_timestamp();
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW."ValidFrom" := clock_timestamp();
    NEW."LastEditedBy" := session_user;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER keep_history BEFORE UPDATE OR DELETE ON sales.customers
    FOR EACH ROW EXECUTE FUNCTION sales.keep_history();
