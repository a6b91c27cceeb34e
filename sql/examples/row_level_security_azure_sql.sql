-- Example: a caller sees and changes the customers of its territories only, a territory being the
-- beginning of a postal code. Run it after sql/azure-sql/; it may be run again.
-- docs/row-level-security.md explains it.
DROP SECURITY POLICY IF EXISTS Sales.CustomersOfTheCaller;
GO

IF OBJECT_ID(N'Sales.CallerTerritories') IS NULL
    CREATE TABLE Sales.CallerTerritories (
        -- Binary: 'ann' is not 'Ann', whatever the database's collation says.
        Issuer     nvarchar(200) COLLATE Latin1_General_100_BIN2 NOT NULL,
        Subject    nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
        PostalCode nvarchar(10)  NOT NULL, -- its beginning
        CONSTRAINT PK_Sales_CallerTerritories PRIMARY KEY NONCLUSTERED (Issuer, Subject, PostalCode)
    );
GO

-- Without a caller it gives no row, so that a way in that tells none shows nothing.
CREATE OR ALTER FUNCTION Sales.caller_may_see(@PostalCode nvarchar(10))
RETURNS TABLE
WITH SCHEMABINDING
AS
RETURN
    SELECT 1 AS visible
      FROM Sales.CallerTerritories AS t
     WHERE t.Issuer = JSON_VALUE(CAST(SESSION_CONTEXT(N'caller') AS nvarchar(4000)), '$.issuer')
                      COLLATE Latin1_General_100_BIN2
       AND t.Subject = JSON_VALUE(CAST(SESSION_CONTEXT(N'caller') AS nvarchar(4000)), '$.subject')
                       COLLATE Latin1_General_100_BIN2
       AND LEFT(@PostalCode, LEN(t.PostalCode)) = t.PostalCode;
GO

-- A refused change is error 33504, which the API answers with 403.
CREATE SECURITY POLICY Sales.CustomersOfTheCaller
    ADD FILTER PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers,
    ADD BLOCK PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers AFTER INSERT,
    ADD BLOCK PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers AFTER UPDATE
    WITH (STATE = ON);
GO
