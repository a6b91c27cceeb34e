-- The API's user, $(AppName), keeps and finds keys in this table.
GRANT SELECT, INSERT, UPDATE, DELETE ON procedures_api.requests TO [$(AppName)];
GO
