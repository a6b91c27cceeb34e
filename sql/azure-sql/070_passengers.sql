-- Passengers, under the name and in the columns of the Flask-SQLAlchemy sample (its spelling too).
IF OBJECT_ID(N'dbo.titanic_passanger') IS NULL
    CREATE TABLE dbo.titanic_passanger (
        id                  int           NOT NULL,
        Survived            smallint      NOT NULL,
        Pclass              smallint      NOT NULL,
        Name                nvarchar(100) NOT NULL,
        Sex                 nvarchar(6)   NOT NULL,
        Age                 float         NULL,
        sibling_or_spouse   smallint      NOT NULL,
        parents_or_children smallint      NOT NULL,
        Fare                float         NOT NULL,
        CONSTRAINT PK_titanic_passanger PRIMARY KEY (id),
        CONSTRAINT CK_titanic_passanger_Survived CHECK (Survived IN (0, 1)),
        CONSTRAINT CK_titanic_passanger_Pclass CHECK (Pclass BETWEEN 1 AND 3)
    );
GO
