-- Passengers, under the name and in the columns of the Flask-SQLAlchemy sample (its spelling too).
CREATE TABLE IF NOT EXISTS dbo.titanic_passanger (
    id                  integer          NOT NULL PRIMARY KEY,
    "Survived"          smallint         NOT NULL CHECK ("Survived" IN (0, 1)),
    "Pclass"            smallint         NOT NULL CHECK ("Pclass" BETWEEN 1 AND 3),
    "Name"              varchar(100)     NOT NULL,
    "Sex"               varchar(6)       NOT NULL,
    "Age"               double precision,
    sibling_or_spouse   smallint         NOT NULL,
    parents_or_children smallint         NOT NULL,
    "Fare"              double precision NOT NULL
);
