"""The request bodies of both FastAPI contestants."""

from pydantic import BaseModel


class Address(BaseModel):
    AddressLine1: str | None = None
    AddressLine2: str | None = None
    PostalCode: str | None = None


class NewCustomer(BaseModel):
    CustomerName: str
    PhoneNumber: str | None = None
    FaxNumber: str | None = None
    WebsiteURL: str | None = None
    Delivery: Address | None = None


class CustomerPatch(BaseModel):
    CustomerName: str | None = None
    PhoneNumber: str | None = None
    FaxNumber: str | None = None
    WebsiteURL: str | None = None
    Delivery: Address | None = None
