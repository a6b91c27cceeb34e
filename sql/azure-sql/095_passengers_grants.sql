-- The only table that the API reads directly, by SQLAlchemy; procedures read all others.
GRANT SELECT ON OBJECT::dbo.titanic_passanger TO [$(AppName)];
GO
