"""Tables as SQLAlchemy sees them. Imported only where Flask-SQLAlchemy is installed."""

from sqlalchemy import Double, SmallInteger, Unicode
from sqlalchemy.orm import Mapped, mapped_column

from database.sqlalchemy_session import db


class Passenger(db.Model):
    """A row of the Flask-SQLAlchemy sample's table, whose spelling is kept."""

    __tablename__ = "titanic_passanger"
    __table_args__ = {"schema": "dbo"}

    id: Mapped[int] = mapped_column(primary_key=True)
    Survived: Mapped[int] = mapped_column(SmallInteger)
    Pclass: Mapped[int] = mapped_column(SmallInteger)
    Name: Mapped[str] = mapped_column(Unicode(100))
    Sex: Mapped[str] = mapped_column(Unicode(6))
    Age: Mapped[float | None] = mapped_column(Double)
    sibling_or_spouse: Mapped[int] = mapped_column(SmallInteger)
    parents_or_children: Mapped[int] = mapped_column(SmallInteger)
    Fare: Mapped[float] = mapped_column(Double)
