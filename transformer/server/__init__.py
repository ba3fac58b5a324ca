"""An HTTP server of runs: JSON in and out, requests in shared batches."""
