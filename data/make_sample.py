"""Makes the shipped sample: customers.csv, taxidata.parquet and passengers.csv, in this folder.

Run as `python data/make_sample.py [FOLDER]`. Every name, address, fare and trip is invented, except
the customer and the trip in the README. Each run makes the same rows: the only source of chance is
`random.Random.random()`, whose sequence Python guarantees.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")
Row = tuple[Any, ...]

CUSTOMER_COLUMNS = (
    "CustomerID",
    "CustomerName",
    "PhoneNumber",
    "FaxNumber",
    "WebsiteURL",
    "DeliveryAddressLine1",
    "DeliveryAddressLine2",
    "DeliveryPostalCode",
)
PASSENGER_COLUMNS = (
    "id",
    "Survived",
    "Pclass",
    "Name",
    "Sex",
    "Age",
    "sibling_or_spouse",
    "parents_or_children",
    "Fare",
)
# The types that Spark writes for the taxi sample; timestamps are stored as INT96, as Spark does.
TRIP_SCHEMA = pa.schema(
    [
        ("VendorID", pa.int16()),
        ("tpep_pickup_datetime", pa.timestamp("us")),
        ("tpep_dropoff_datetime", pa.timestamp("us")),
        ("passenger_count", pa.int16()),
        ("trip_distance", pa.float64()),
        ("RatecodeID", pa.int16()),
        ("store_and_fwd_flag", pa.bool_()),
        ("PULocationID", pa.int16()),
        ("DOLocationID", pa.int16()),
        ("payment_type", pa.int16()),
        ("fare_amount", pa.float64()),
        ("extra", pa.float64()),
        ("mta_tax", pa.float64()),
        ("tip_amount", pa.float64()),
        ("tolls_amount", pa.float64()),
        ("improvement_surcharge", pa.float64()),
        ("total_amount", pa.float64()),
        ("congestion_surcharge", pa.float64()),
    ]
)

# state: (telephone area code, first two digits of its postal codes)
STATES = {
    "AL": (205, "35"), "AZ": (602, "85"), "CA": (415, "94"), "CO": (303, "80"), "FL": (305, "33"),
    "GA": (404, "30"), "ID": (208, "83"), "IL": (217, "62"), "IN": (317, "46"), "KS": (316, "67"),
    "KY": (502, "40"), "LA": (504, "70"), "MA": (413, "01"), "ME": (207, "04"), "MI": (517, "48"),
    "MN": (218, "56"), "MO": (314, "63"), "MT": (406, "59"), "NC": (704, "28"), "ND": (701, "58"),
    "NE": (308, "68"), "NM": (505, "87"), "NV": (702, "89"), "NY": (212, "90"), "OH": (614, "43"),
    "OK": (405, "73"), "OR": (503, "97"), "PA": (814, "16"), "SD": (605, "57"), "TN": (615, "37"),
    "TX": (512, "78"), "UT": (801, "84"), "VA": (804, "23"), "WA": (206, "98"), "WI": (608, "53"),
    "WV": (304, "25"), "WY": (307, "82"),
}  # fmt: skip
TOWN_STARTS = (
    "Alder", "Amber", "Ash", "Barrow", "Birch", "Bramble", "Briar", "Cedar", "Clover", "Copper",
    "Crane", "Dapple", "Drift", "Elder", "Fallow", "Fern", "Finch", "Flint", "Gable", "Garnet",
    "Hazel", "Heron", "Hollow", "Ivy", "Juniper", "Kestrel", "Lantern", "Larch", "Linden",
    "Maple", "Marsh", "Mill", "Moss", "Nettle", "Oak", "Otter", "Pebble", "Pine", "Plover",
    "Quarry", "Raven", "Reed", "Rook", "Rowan", "Saddle", "Sedge", "Slate", "Sorrel", "Thistle",
    "Timber", "Vesper", "Walnut", "Willow", "Wren", "Yarrow",
)  # fmt: skip
TOWN_ENDS = (
    "Bend", "Bluff", "Bridge", "Corner", "Creek", "Crossing", "Falls", "Ferry", "Fork", "Gap",
    "Grove", "Harbor", "Heights", "Hill", "Hollow", "Junction", "Landing", "Meadow", "Mills",
    "Park", "Point", "Ridge", "Run", "Springs", "Station", "Valley",
)  # fmt: skip
TOWNS_BEYOND_ASCII = (
    ("Peña Alta", "NM"), ("Château-Vert", "ME"), ("O'Malley's Ferry", "MT"),
    ("L'Île-aux-Pins", "LA"), ("San José del Río", "TX"), ("Ångholm", "MN"),
    ("Bjørnvik", "ND"), ("Coeur d'Étoile", "ID"), ("Grünau", "WI"), ("Kelly's Reach", "OH"),
)  # fmt: skip
STREET_FAMILIES = (
    "Persson", "Abara", "Adeyemi", "Bergström", "Castellanos", "Chaudhary", "D'Amico", "Dvořák",
    "Eriksen", "Farouk", "Fitzpatrick", "García", "Haddad", "Ivanova", "Jansen", "Kowalski",
    "Lefèvre", "Lindqvist", "Marchetti", "Nakamura", "Nguyen", "O'Brien", "Okafor", "Oliveira",
    "Petrov", "Quispe", "Rahman", "Schröder", "Tanaka", "Underhill", "Vasquez", "Whitlock",
    "Öztürk", "Zielinski",
)  # fmt: skip
STREET_KINDS = ("Road", "Street", "Avenue", "Lane", "Boulevard", "Crescent")
WOMEN = (
    "Aarti", "Abena", "Agnes", "Amélie", "Anjali", "Beatriz", "Chiara", "Clara", "Devi", "Elif",
    "Fatima", "Gudrun", "Hana", "Ingrid", "Isla", "Kavya", "Leila", "Lucía", "Mai", "Nadia",
    "Niamh", "Olga", "Priya", "Rania", "Saga", "Siobhan", "Uma", "Wanjiru", "Xenia", "Zoë",
)  # fmt: skip
MEN = (
    "Adrián", "Amadou", "Anders", "Bogdan", "Chinedu", "Dariusz", "Eduardo", "Emeka", "Farid",
    "Hiroshi", "Jakub", "Jorge", "José", "Kofi", "Laszlo", "Magnus", "Mateo", "Omar", "Paolo",
    "Quentin", "Rohan", "Seán", "Søren", "Tomáš", "Viktor", "Yusuf",
)  # fmt: skip
PERSON_FAMILIES = (
    "Abara", "Adeyemi", "Ångström", "Bakshi", "Bergström", "Boateng", "Castellanos",
    "Chaudhary", "Costa", "D'Amico", "De la Cruz", "Dvořák", "Eriksen", "Farouk", "García",
    "Haddad", "Ivanova", "Jansen", "Karimi", "Kowalski", "Lefèvre", "Lindqvist", "Marchetti",
    "Mokoena", "Muñoz", "Nakamura", "Nguyen", "O'Brien", "O'Dowd", "Okafor", "Petrov", "Quispe",
    "Rahman", "Schröder", "Silva", "Tanaka", "Vasquez", "Whitlock", "Öztürk", "Zielinski",
)  # fmt: skip
ASCII_LETTERS = str.maketrans("ÁÅÉÎÖØÜàáâåçèéêëíîïñóöøřšüýžčÍ", "AAEIOOUaaaaceeeeiiinooorsuyzcI")

README_CUSTOMER = (
    123,
    "Tailspin Toys (Roe Park, NY)",
    "(212) 555-0100",
    "(212) 555-0101",
    "http://www.tailspintoys.com/RoePark",
    "Shop 219",
    "528 Persson Road",
    "90775",
)
README_TRIP = {
    "VendorID": 1,
    "tpep_pickup_datetime": datetime(2019, 1, 31, 13, 34, 15),
    "tpep_dropoff_datetime": datetime(2019, 1, 31, 13, 55, 37),
    "passenger_count": 1,
    "trip_distance": 3.2,
    "RatecodeID": 1,
    "store_and_fwd_flag": False,
    "PULocationID": 236,
    "DOLocationID": 263,
    "payment_type": 1,
    "fare_amount": 15.5,
    "extra": 0.0,
    "mta_tax": 0.5,
    "tip_amount": 3.7,
    "tolls_amount": 0.0,
    "improvement_surcharge": 0.3,
    "total_amount": 20.0,
    "congestion_surcharge": 0.0,
}
TRIPS = 2_000
MANHATTAN = (
    4, 13, 24, 41, 42, 43, 45, 48, 50, 68, 74, 75, 79, 87, 88, 90, 100, 107, 113, 114, 125, 137,
    140, 141, 142, 143, 144, 148, 151, 158, 161, 162, 163, 164, 166, 170, 186, 209, 211, 224, 229,
    230, 231, 232, 233, 234, 236, 237, 238, 239, 246, 249, 261, 262, 263,
)  # fmt: skip
OUTER_BOROUGHS = (7, 25, 33, 36, 40, 49, 61, 65, 80, 82, 95, 97, 129, 145, 146, 179, 181, 193, 223)
LAGUARDIA, JFK = 138, 132
# Relative number of trips that begin in each hour of the day.
HOURLY_DEMAND = (
    30, 20, 14, 9, 8, 12, 30, 52, 66, 65, 62, 63, 66, 66, 70, 68, 60, 70, 84, 86, 78, 74, 66, 50,
)  # fmt: skip
# Relative number of trips per day from 28 January; most on the 31st, as in the full file. From
# 2 February on, trips in Manhattan have the congestion surcharge.
DAILY_DEMAND = (8, 8, 10, 50, 10, 8, 6)
CONGESTION_SURCHARGE_FROM = datetime(2019, 2, 2)


class Draw:
    """Reproducible choices, all derived from `Random.random()`."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed).random

    def below(self, limit: int) -> int:
        """An integer n with 0 <= n < limit."""
        return int(self._random() * limit)

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def weighted(self, weights: Sequence[float]) -> int:
        """An index of `weights`, with a probability in proportion to its weight."""
        at = self._random() * sum(weights)
        for index, weight in enumerate(weights):
            at -= weight
            if at < 0:
                return index
        return len(weights) - 1

    def shuffled(self, items: Iterable[T]) -> list[T]:
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]

    def happens(self, probability: float) -> bool:
        return self._random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()


def customers() -> list[Row]:
    """663 rows of CUSTOMER_COLUMNS, with the ids of WideWorldImporters; '' stands for NULL."""
    draw = Draw("customers")
    rows = []
    for first_id, company, site in (
        (1, "Tailspin Toys", "tailspintoys"),
        (401, "Wingtip Toys", "wingtiptoys"),
    ):
        towns = [("Head Office", "CA"), *_towns(draw, 200)]
        for customer_id, (town, state) in enumerate(towns, first_id):
            place = town if town == "Head Office" else f"{town}, {state}"
            website = f"http://www.{site}.com/{_url_word(town)}"
            shop = f"Shop {1 + draw.below(300)}"
            rows.append(
                (customer_id, f"{company} ({place})", *_contact(draw, state, website, shop))
            )
    for customer_id, (name, _) in enumerate(_person_names(draw, 261), 801):
        website = "" if draw.happens(0.15) else f"http://www.example.com/{_url_word(name)}"
        unit = f"{draw.one_of(('Unit', 'Suite'))} {1 + draw.below(200)}"
        rows.append((customer_id, name, *_contact(draw, draw.one_of(list(STATES)), website, unit)))
    return [README_CUSTOMER if row[0] == README_CUSTOMER[0] else row for row in rows]


def _towns(draw: Draw, count: int) -> list[tuple[str, str]]:
    towns = {}
    for place, state in TOWNS_BEYOND_ASCII:
        towns[place] = state
    while len(towns) < count:
        start, end = draw.one_of(TOWN_STARTS), draw.one_of(TOWN_ENDS)
        if start != end:
            towns.setdefault(f"{start} {end}", draw.one_of(list(STATES)))
    return draw.shuffled(towns.items())


def _person_names(draw: Draw, count: int) -> list[tuple[str, str]]:
    """`count` different pairs of a name and its sex."""
    names: dict[str, str] = {}
    while len(names) < count:
        sex, given_names = draw.one_of((("female", WOMEN), ("male", MEN)))
        names[f"{draw.one_of(given_names)} {draw.one_of(PERSON_FAMILIES)}"] = sex
    return list(names.items())


def _contact(draw: Draw, state: str, website: str, address_line_1: str) -> tuple[str, ...]:
    area, zone = STATES[state]
    street = f"{1 + draw.below(1_999)} {draw.one_of(STREET_FAMILIES)} {draw.one_of(STREET_KINDS)}"
    fax = f"({area}) 555-0101" if draw.happens(0.97) else ""
    postal_code = f"{zone}{draw.below(1_000):03}"
    # 555-0100 to 555-0199 are reserved for fiction in every area code
    return f"({area}) 555-0100", fax, website, address_line_1, street, postal_code


def _url_word(text: str) -> str:
    return "".join(c for c in text.translate(ASCII_LETTERS) if c.isascii() and c.isalnum())


def trips() -> pa.Table:
    """2,000 trips as a table of TRIP_SCHEMA, sorted by pick-up, with correct totals."""
    draw = Draw("trips")
    rows = [README_TRIP, *(_trip(draw) for _ in range(TRIPS - 1))]
    rows.sort(key=lambda row: (row["tpep_pickup_datetime"], *row.values()))
    return pa.Table.from_pylist(rows, TRIP_SCHEMA)


def _trip(draw: Draw) -> dict[str, Any]:
    pickup = datetime(2019, 1, 28) + timedelta(
        days=draw.weighted(DAILY_DEMAND),
        hours=draw.weighted(HOURLY_DEMAND),
        seconds=draw.below(3_600),
    )
    vendor = 1 + draw.weighted((38, 62))
    kind = draw.weighted((88, 7, 3, 2))
    start = draw.one_of(MANHATTAN)
    rides: list[tuple[int, float, int, int]] = [
        (draw.one_of(MANHATTAN), 0.3 + draw.between(0.5, 2.2) ** 2, 1, 0),
        (draw.one_of(OUTER_BOROUGHS), draw.between(3, 9), 1, 0),
        (LAGUARDIA, draw.between(7, 11), 1, 576),
        (JFK, draw.between(15, 19), 2, 576 if draw.happens(0.6) else 0),
    ]
    end, miles, rate_code, tolls = rides[kind]
    if draw.happens(0.4):
        start, end = end, start
    miles = round(miles, 1 if vendor == 1 else 2)
    seconds = int(miles * 3_600 / draw.between(7, 16) + draw.between(60, 240))
    # tariff of 2019 in cents: 2.50, then 0.50 for each fifth of a mile or slow minute
    fare = 5_200 if rate_code == 2 else 250 + 50 * int(miles * 4 + seconds / 60 * 0.3)
    rush_hour = 16 <= pickup.hour < 20 and pickup.weekday() < 5
    night = pickup.hour >= 20 or pickup.hour < 6
    rush_extra = 450 if rate_code == 2 else 100
    extra = rush_extra if rush_hour else 50 if night and rate_code == 1 else 0
    in_zone = start in MANHATTAN or end in MANHATTAN
    congestion = 250 if in_zone and pickup >= CONGESTION_SURCHARGE_FROM else 0
    payment = 1 + draw.weighted((760, 231, 6, 3))
    before_tip = fare + extra + 50 + tolls + 30 + congestion
    amounts = {
        "fare_amount": fare,
        "extra": extra,
        "mta_tax": 50,
        "tip_amount": _tip(draw, before_tip) if payment == 1 else 0,
        "tolls_amount": tolls,
        "improvement_surcharge": 30,
        "congestion_surcharge": congestion,
    }
    # a disputed fare is cancelled by a trip with negative amounts
    sign = -1 if payment == 4 and vendor == 2 else 1
    dollars = {name: sign * cents / 100 for name, cents in amounts.items()}
    dollars["total_amount"] = sign * sum(amounts.values()) / 100
    row = {
        "VendorID": vendor,
        "tpep_pickup_datetime": pickup,
        "tpep_dropoff_datetime": pickup + timedelta(seconds=seconds),
        "passenger_count": draw.weighted((2, 72, 14, 4, 2, 4, 2)),
        "trip_distance": miles,
        "RatecodeID": rate_code,
        "store_and_fwd_flag": vendor == 1 and draw.happens(0.02),
        "PULocationID": start,
        "DOLocationID": end,
        "payment_type": payment,
        **dollars,
    }
    return {name: row[name] for name in TRIP_SCHEMA.names}


def _tip(draw: Draw, before_tip: int) -> int:
    """In cents: a share that the meter suggests, the rest to a multiple of five dollars, or 0."""
    habit = draw.weighted((80, 8, 12))
    if habit == 0:
        return before_tip * draw.one_of((20, 25, 30)) // 100
    return -before_tip % 500 if habit == 1 else 0


def passengers() -> list[Row]:
    """100 invented passengers in the order of PASSENGER_COLUMNS."""
    draw = Draw("passengers")
    rows = []
    for number, (name, sex) in enumerate(_person_names(draw, 100), 1):
        pclass = 1 + draw.weighted((24, 21, 55))
        age = draw.below(9) if draw.happens(0.08) else 14 + draw.below(55)
        child = age < 14
        title = {"male": ("Mr.", "Master"), "female": ("Mrs.", "Miss")}[sex][child]
        if sex == "female" and not child and draw.happens(0.5):
            title = "Miss"
        chance = {1: 0.62, 2: 0.45, 3: 0.24}[pclass] + (0.3 if sex == "female" else -0.12)
        fare_cents = {1: 2_600, 2: 1_050, 3: 725}[pclass] + 25 * draw.below(
            {1: 240, 2: 80, 3: 40}[pclass]
        )
        rows.append(
            (
                number,
                int(draw.happens(chance)),
                pclass,
                f"{title} {name}",
                sex,
                age,
                draw.weighted((68, 24, 5, 3)),
                draw.weighted((20, 60, 20)) if child else draw.weighted((80, 13, 7)),
                f"{fare_cents / 100:g}",
            )
        )
    return rows


def write(folder: Path) -> None:
    """Write the three files into `folder`, replacing existing ones."""
    _write_csv(folder / "customers.csv", CUSTOMER_COLUMNS, customers())
    _write_csv(folder / "passengers.csv", PASSENGER_COLUMNS, passengers())
    pq.write_table(
        trips(),
        folder / "taxidata.parquet",
        compression="zstd",
        use_deprecated_int96_timestamps=True,
    )


def _write_csv(path: Path, header: Row, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
