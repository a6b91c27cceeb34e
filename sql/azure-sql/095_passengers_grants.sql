-- The one table that the API reads itself, by SQLAlchemy; all others are behind the procedures.
GRANT SELECT ON OBJECT::dbo.titanic_passanger TO [$(AppName)];
GO
