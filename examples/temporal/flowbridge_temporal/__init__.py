"""A backend of flowbridge for Temporal, written from its documentation alone."""
