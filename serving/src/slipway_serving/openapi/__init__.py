"""The OpenAPI description of a server, made of the models that it has."""
