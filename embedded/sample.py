"""Fills the embedded database: its procedures, and the shipped sample, once."""

import logging
from pathlib import Path

from deploy.templates import fill
from embedded.cluster import EmbeddedCluster
from embedded.configuration import API_ROLE, DATABASE

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = (ROOT / "sql" / "postgresql", ROOT / "sql" / "keys" / "postgresql")
DATA = ROOT / "data"

# The embedded database serves only this product, so PUBLIC has no rights, not even to temporary
# tables. The scripts, which run in other databases too, do not change PUBLIC.
NOTHING_FOR_PUBLIC = f"""
REVOKE CREATE, TEMPORARY ON DATABASE {DATABASE} FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""
CUSTOMERS = """
BEGIN;
COPY sales.customers ("CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL",
    "DeliveryAddressLine1", "DeliveryAddressLine2", "DeliveryPostalCode")
FROM STDIN WITH (FORMAT csv, HEADER);
{rows}\\.
INSERT INTO web.sample_data ("Name") VALUES ('customers');
COMMIT;
ANALYZE sales.customers;
"""
PASSENGERS = """
BEGIN;
COPY dbo.titanic_passanger (id, "Survived", "Pclass", "Name", "Sex", "Age", sibling_or_spouse,
    parents_or_children, "Fare")
FROM STDIN WITH (FORMAT csv, HEADER);
{rows}\\.
INSERT INTO web.sample_data ("Name") VALUES ('passengers');
COMMIT;
"""


def deploy_and_fill(cluster: EmbeddedCluster) -> None:
    """Run the scripts of SCRIPTS and load the missing parts of the sample. Idempotent."""
    for script in [script for folder in SCRIPTS for script in sorted(folder.glob("*.sql"))]:
        text = script.read_text(encoding="utf-8")
        cluster.run_sql(fill(text, {"AppName": API_ROLE}, engine="postgresql"))
    cluster.run_sql(NOTHING_FOR_PUBLIC)
    loaded = cluster.run_sql('SELECT "Name" FROM web.sample_data').split()
    for name, copy in (("customers", CUSTOMERS), ("passengers", PASSENGERS)):
        if name not in loaded:
            rows = (DATA / f"{name}.csv").read_text(encoding="utf-8")
            cluster.run_sql(copy.replace("{rows}", rows))
    if "taxidata" not in loaded:
        # Imported here, because importing pyarrow takes longer than a whole second start.
        from taxi.loader import load

        conninfo = cluster.conninfo()
        load([DATA / "taxidata.parquet"], conninfo=conninfo, is_sample=True, report=log.debug)
        cluster.run_sql("INSERT INTO web.sample_data (\"Name\") VALUES ('taxidata')")
