"""What the server does with a run: one class for each path of the API."""
