-- Example: a caller sees and changes only the customers of its territories. A territory is the
-- beginning of a postal code. Run this after sql/azure-sql/; it is idempotent.
-- docs/row-level-security.md explains it.
DROP SECURITY POLICY IF EXISTS Sales.CustomersOfTheCaller;
GO

IF OBJECT_ID(N'Sales.CallerTerritories') IS NULL
    CREATE TABLE Sales.CallerTerritories (
        -- Binary: 'ann' is not 'Ann', in every collation of the database.
        Issuer     nvarchar(200) COLLATE Latin1_General_100_BIN2 NOT NULL,
        Subject    nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
        PostalCode nvarchar(10)  NOT NULL, -- its beginning
        CONSTRAINT PK_Sales_CallerTerritories PRIMARY KEY NONCLUSTERED (Issuer, Subject, PostalCode)
    );
GO

-- Returns no row without a caller, so that a connection without one sees no customers.
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

-- A rejected change is error 33504, for which the API returns 403.
CREATE SECURITY POLICY Sales.CustomersOfTheCaller
    ADD FILTER PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers,
    ADD BLOCK PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers AFTER INSERT,
    ADD BLOCK PREDICATE Sales.caller_may_see(DeliveryPostalCode) ON Sales.Customers AFTER UPDATE
    WITH (STATE = ON);
GO
