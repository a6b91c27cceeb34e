"""HTTP for every route: validation, problems, formats, compression, limits and authorization."""
