"""What both hosts answer, as OpenAPI 3.1: `documents.document` makes it from the routes, `page` the same for people."""
