"""One module per page; each adds its routes to the one blueprint."""
