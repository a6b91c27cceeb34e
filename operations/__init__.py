"""What each method of a route takes and returns; OpenAPI and Postman are made from it."""
