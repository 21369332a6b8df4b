"""`litefleet model report` as a page: one HTML file that needs nothing else, drawn from the fleet API's JSON."""
