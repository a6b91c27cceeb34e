"""A digest is stored with its key, so that it has to stay the same from one version to the next."""

import pytest

from protocol.idempotency import canonical, digest

MANY = {"Customers": [{"CustomerName": "a"}, {"b": 1.5e300, "CustomerName": "b", "a": True}]}
ONE = {
    "PhoneNumber": "(555) 555-0100",
    "CustomerName": 'Zoë \x7f "A\\B" 北\n',
    "Delivery": {"PostalCode": "90410", "AddressLine1": None},
}


@pytest.mark.parametrize(
    ("procedure", "document", "stored"),
    [
        (
            "web.put_customer",
            ONE,
            "f3ea09ebf5d8a556e03ac596246dbc16c1a8237eb1ff8af36720b756f5b76205",
        ),
        (
            "POST api.create_ordér",
            {},
            "1f39a4bea0f82607458efd55e7c41faf535fa2e059ad80d5403aa251c06356d9",
        ),
        (
            "web.put_customers",
            MANY,
            "3a5adebd76bea65766ef9b580073c82e39507d20bf254aae964002c435bcaa75",
        ),
    ],
)
def test_a_digest_is_the_one_that_earlier_versions_stored(procedure, document, stored):
    assert digest(procedure, canonical(document)) == stored


def test_the_order_of_keys_makes_no_other_digest():
    turned = dict(reversed(ONE.items()))
    assert digest("p", canonical(turned)) == digest("p", canonical(ONE))
