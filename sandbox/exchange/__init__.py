"""Requests and answers: Starlette's, extended by what the service does differently."""
