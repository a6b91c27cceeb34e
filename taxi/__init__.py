"""Loads Parquet files of taxi trips, as the NYC Taxi and Limousine Commission publishes them."""
