"""The SQLAlchemy model of the passengers' table. Imported only if SQLAlchemy is installed."""

from sqlalchemy import Double, SmallInteger, Unicode
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Passenger(Base):
    """One row. The names are spelled as in the original sample."""

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
