"""Loads the taxi commission's Parquet files."""
