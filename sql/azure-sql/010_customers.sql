-- The part of WideWorldImporters that the API serves, created only if the real one is absent.
-- Column names, types and NOT NULLs are those of the real Sales.Customers, so the procedures run on
-- both. A missing value is an empty string in columns that forbid NULL.

-- The real table's last CustomerID is 1061. Not from sys.sequences, which Babelfish leaves empty.
IF OBJECT_ID(N'Sequences.CustomerID') IS NULL
    CREATE SEQUENCE Sequences.CustomerID AS int START WITH 1062 INCREMENT BY 1;
GO

IF OBJECT_ID(N'Sales.Customers') IS NULL
    CREATE TABLE Sales.Customers (
        CustomerID                 int            NOT NULL,
        CustomerName               nvarchar(100)  NOT NULL,
        BillToCustomerID           int            NOT NULL,
        CustomerCategoryID         int            NOT NULL,
        PrimaryContactPersonID     int            NOT NULL,
        DeliveryMethodID           int            NOT NULL,
        DeliveryCityID             int            NOT NULL,
        PostalCityID               int            NOT NULL,
        AccountOpenedDate          date           NOT NULL,
        StandardDiscountPercentage decimal(18, 3) NOT NULL,
        IsStatementSent            bit            NOT NULL,
        IsOnCreditHold             bit            NOT NULL,
        PaymentDays                int            NOT NULL,
        PhoneNumber                nvarchar(20)   NOT NULL,
        FaxNumber                  nvarchar(20)   NOT NULL,
        WebsiteURL                 nvarchar(256)  NOT NULL,
        DeliveryAddressLine1       nvarchar(60)   NOT NULL,
        DeliveryAddressLine2       nvarchar(60)   NULL,
        DeliveryPostalCode         nvarchar(10)   NOT NULL,
        PostalAddressLine1         nvarchar(60)   NOT NULL,
        PostalAddressLine2         nvarchar(60)   NULL,
        PostalPostalCode           nvarchar(10)   NOT NULL,
        LastEditedBy               int            NOT NULL,
        ValidFrom                  datetime2(7)   NOT NULL
            CONSTRAINT DF_Sales_Customers_ValidFrom DEFAULT (SYSUTCDATETIME()),
        ValidTo                    datetime2(7)   NOT NULL
            CONSTRAINT DF_Sales_Customers_ValidTo DEFAULT ('9999-12-31'),
        CONSTRAINT PK_Sales_Customers PRIMARY KEY (CustomerID),
        CONSTRAINT UQ_Sales_Customers_CustomerName UNIQUE (CustomerName),
        CONSTRAINT FK_Sales_Customers_BillToCustomerID_Sales_Customers
            FOREIGN KEY (BillToCustomerID) REFERENCES Sales.Customers (CustomerID)
    );
GO

-- The former versions of each row, with the editor and the end of their validity.
IF OBJECT_ID(N'Sales.Customers_Archive') IS NULL
BEGIN
    CREATE TABLE Sales.Customers_Archive (
        CustomerID                 int            NOT NULL,
        CustomerName               nvarchar(100)  NOT NULL,
        BillToCustomerID           int            NOT NULL,
        CustomerCategoryID         int            NOT NULL,
        PrimaryContactPersonID     int            NOT NULL,
        DeliveryMethodID           int            NOT NULL,
        DeliveryCityID             int            NOT NULL,
        PostalCityID               int            NOT NULL,
        AccountOpenedDate          date           NOT NULL,
        StandardDiscountPercentage decimal(18, 3) NOT NULL,
        IsStatementSent            bit            NOT NULL,
        IsOnCreditHold             bit            NOT NULL,
        PaymentDays                int            NOT NULL,
        PhoneNumber                nvarchar(20)   NOT NULL,
        FaxNumber                  nvarchar(20)   NOT NULL,
        WebsiteURL                 nvarchar(256)  NOT NULL,
        DeliveryAddressLine1       nvarchar(60)   NOT NULL,
        DeliveryAddressLine2       nvarchar(60)   NULL,
        DeliveryPostalCode         nvarchar(10)   NOT NULL,
        PostalAddressLine1         nvarchar(60)   NOT NULL,
        PostalAddressLine2         nvarchar(60)   NULL,
        PostalPostalCode           nvarchar(10)   NOT NULL,
        LastEditedBy               int            NOT NULL,
        ValidFrom                  datetime2(7)   NOT NULL,
        ValidTo                    datetime2(7)   NOT NULL
    );

    CREATE INDEX IX_Sales_Customers_Archive
        ON Sales.Customers_Archive (CustomerID, ValidFrom);
END;
GO

-- The real table is system-versioned: the engine archives, and rejects at compile time a statement
-- that writes ValidFrom or the history, even in a branch that never runs. So the procedure is
-- chosen here, once, instead of branching inside it.
IF EXISTS (
    SELECT 1
    FROM sys.columns AS c
    WHERE c.object_id = OBJECT_ID(N'Sales.Customers') AND c.generated_always_type <> 0
)
    EXEC (N'
CREATE OR ALTER PROCEDURE internal.archive_customer
    @CustomerID int
AS
BEGIN
    RETURN;
END;
');
ELSE
    EXEC (N'
CREATE OR ALTER PROCEDURE internal.archive_customer
    @CustomerID int
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @Now datetime2(7) = SYSUTCDATETIME();
    INSERT INTO Sales.Customers_Archive (
        CustomerID, CustomerName, BillToCustomerID, CustomerCategoryID, PrimaryContactPersonID,
        DeliveryMethodID, DeliveryCityID, PostalCityID, AccountOpenedDate,
        StandardDiscountPercentage, IsStatementSent, IsOnCreditHold, PaymentDays,
        PhoneNumber, FaxNumber, WebsiteURL,
        DeliveryAddressLine1, DeliveryAddressLine2, DeliveryPostalCode,
        PostalAddressLine1, PostalAddressLine2, PostalPostalCode,
        LastEditedBy, ValidFrom, ValidTo
    )
    SELECT
        c.CustomerID, c.CustomerName, c.BillToCustomerID, c.CustomerCategoryID,
        c.PrimaryContactPersonID, c.DeliveryMethodID, c.DeliveryCityID, c.PostalCityID,
        c.AccountOpenedDate, c.StandardDiscountPercentage, c.IsStatementSent, c.IsOnCreditHold,
        c.PaymentDays, c.PhoneNumber, c.FaxNumber, c.WebsiteURL,
        c.DeliveryAddressLine1, c.DeliveryAddressLine2, c.DeliveryPostalCode,
        c.PostalAddressLine1, c.PostalAddressLine2, c.PostalPostalCode,
        c.LastEditedBy, c.ValidFrom, @Now
    FROM Sales.Customers AS c
    WHERE c.CustomerID = @CustomerID;
    UPDATE Sales.Customers
    SET ValidFrom = @Now
    WHERE CustomerID = @CustomerID;
END;
');
GO
