-- The routes of the customers for an API that knows these procedures from the catalog only, which
-- is one with the schema web in EXPOSED_SCHEMAS and no resource class of these routes.
CREATE OR ALTER PROCEDURE internal.describe_procedure @Name sysname, @Description nvarchar(3750)
AS
BEGIN
    SET NOCOUNT ON;

    IF EXISTS (SELECT 1 FROM sys.extended_properties
               WHERE major_id = OBJECT_ID(N'web.' + @Name) AND minor_id = 0
                   AND name = N'MS_Description')
        EXEC sp_dropextendedproperty N'MS_Description',
            N'SCHEMA', N'web', N'PROCEDURE', @Name;

    EXEC sp_addextendedproperty N'MS_Description', @Description,
        N'SCHEMA', N'web', N'PROCEDURE', @Name;
END;
GO

EXEC internal.describe_procedure N'get_customer', N'One customer.
@route GET /customer/{CustomerID:int}';
EXEC internal.describe_procedure N'get_customers', N'The customers, a page of them or all.';
EXEC internal.describe_procedure N'put_customer', N'Make a customer.';
EXEC internal.describe_procedure N'put_customers', N'Make many customers, all or none.
@route POST /customers';
EXEC internal.describe_procedure N'replace_customer', N'Replace a customer: an absent member clears its column.
@route PUT /customer/{CustomerID:int}';
EXEC internal.describe_procedure N'patch_customer', N'Change a customer: null clears, absent leaves.
@route PATCH /customer/{CustomerID:int}';
EXEC internal.describe_procedure N'delete_customer', N'Remove a customer.
@route DELETE /customer/{CustomerID:int}';
EXEC internal.describe_procedure N'delete_expired_requests', N'Deletes expired idempotency keys.
@private';
EXEC internal.describe_procedure N'require_request', N'Refuses a read on a replica that lacks a write.
@private';
GO
