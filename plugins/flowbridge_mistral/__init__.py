"""The backend for OpenStack Mistral, over its v2 HTTP API."""
